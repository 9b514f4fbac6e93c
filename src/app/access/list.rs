//! An operator looks at requests for access.

use crate::domain::access::AccessRequest;
use crate::domain::audit::AuditAction;
use crate::domain::ids::AccessRequestId;
use crate::domain::principal::Operator;
use crate::domain::refusal::Refusal;
use crate::store::AccessQuery;

use super::super::{App, RequestContext};
use super::no_request;

/// A page of requests, newest first.
pub struct AccessPage {
    /// The requests, as they stand now.
    pub requests: Vec<AccessRequest>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<AccessRequestId>,
}

impl App {
    /// A page of requests.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn list_access(
        &self,
        context: &RequestContext,
        who: &Operator,
        query: Result<AccessQuery, Refusal>,
    ) -> Result<AccessPage, Refusal> {
        let mut query = self.looked(context, who, AuditAction::ReadAccess, query).await?;
        query.limit += 1;
        let now = self.clock.now();
        let mut requests = self.store.access_requests(query.clone()).await?;
        let more = requests.len() == query.limit;
        requests.truncate(query.limit - 1);
        let next = requests.last().filter(|_| more).map(|request| request.id);
        for request in &mut requests {
            request.state = request.state.clone().as_of(now);
        }
        Ok(AccessPage { requests, next })
    }

    /// One request.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn read_access(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: Result<AccessRequestId, Refusal>,
    ) -> Result<AccessRequest, Refusal> {
        let found = match id {
            Ok(id) => match self.store.access_request(id).await {
                Ok(found) => found.ok_or_else(no_request),
                Err(error) => Err(error.into()),
            },
            Err(refusal) => Err(refusal),
        };
        let mut request = self.looked(context, who, AuditAction::ReadAccess, found).await?;
        request.state = request.state.as_of(self.clock.now());
        Ok(request)
    }
}
