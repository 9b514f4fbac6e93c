//! Authentication, and the permission that a handler's signature names.
//!
//! `Authorized<CreateUpload>` exists only for a valid token of a workflow that may write anything at all; which paths it
//! may write is the policy's to decide. Tokens are read from headers only; `query.rs` refuses those in an address.

use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::app::App;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::Action;
use crate::identity::Scheme;

use super::asker::Asker;
use super::possession::{Shown, offer_nonce};
use super::problem::Problem;
use super::{context, sunset};

/// The header of workflows that can set only one of their own.
pub(super) const CUSTOM_HEADER: &str = "x-workflow-token";

/// A permission of the public listener.
pub(super) trait Permission: 'static {
    /// The action that some scope of the token must allow; none where every workflow may.
    const ACTION: Option<Action>;
}

macro_rules! permission {
    ($($(#[$doc:meta])* $name:ident => $action:ident;)*) => {
        $($(#[$doc])* pub(super) struct $name; impl Permission for $name { const ACTION: Option<Action> = Some(Action::$action); })*
    };
}

permission! {
    /// Request an upload.
    CreateUpload => Write;
    /// Request a download.
    CreateDownload => Read;
    /// Look at an object.
    ReadObject => Read;
    /// List objects.
    ListObjects => List;
    /// Delete an object.
    DeleteObject => Delete;
}

/// Look at what the token's own app and workflow may do.
pub(super) struct ReadLimits;

impl Permission for ReadLimits {
    const ACTION: Option<Action> = None;
}

/// A workflow that holds a permission.
pub(super) struct Authorized<P> {
    /// Who asks.
    pub(super) who: Arc<Principal>,
    permission: PhantomData<P>,
}

impl<P: Permission> FromRequest for Authorized<P> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let context = context::of(request).0;
        let app = request.app_data::<web::Data<App>>().cloned();
        let request = request.clone();
        async move {
            let Some(app) = app else { return Err(Problem::new(missing(), context.request_id)) };
            let result = match presented(&request, CUSTOM_HEADER) {
                Ok((scheme, token)) => app.authenticate(&context, token, &Shown { request: &request, scheme }).await,
                Err(refusal) => Err(app.refuse_anonymous(&context, refusal).await),
            };
            let renew = result.as_ref().is_ok_and(|authenticated| authenticated.renew_nonce);
            offer_nonce(&request, &app, renew, result.as_ref().err());
            let result = result.map(|authenticated| authenticated.who);
            let lacks = |who: &Principal, action: Action| {
                !who.scopes.iter().any(|scope| scope.action.is_none_or(|own| own == action))
            };
            if let Ok(who) = &result {
                Asker::Workflow(Arc::clone(who)).note(&request);
                // The middleware answers cross-origin pages of this app.
                request.extensions_mut().insert(who.app.clone());
                if let Some(sunset) = who.sunset {
                    sunset::noted(&request, sunset);
                }
            }
            match result {
                Ok(who) => match P::ACTION.filter(|action| lacks(&who, *action)) {
                    None => Ok(Self { who, permission: PhantomData }),
                    Some(action) => {
                        let detail = format!("No scope of this token allows '{}'.", action.as_str());
                        let refusal = Refusal::new(Reason::ScopeInsufficient, detail);
                        Err(Problem::new(app.refuse_known(&context, &who, refusal).await, context.request_id))
                    }
                },
                Err(refusal) => Err(Problem::new(refusal, context.request_id)),
            }
        }
        .boxed_local()
    }
}

pub(super) fn missing() -> Refusal {
    Refusal::new(
        Reason::TokenMissing,
        "Send your token as 'Authorization: Bearer <token>', or in the header X-Workflow-Token where your tool can only \
         set a custom header.",
    )
}

/// The one token of the request, and the scheme under which it came.
pub(super) fn presented<'r>(request: &'r HttpRequest, custom: &str) -> Result<(Scheme, &'r str), Refusal> {
    let headers = request.headers();
    let standard = headers.get_all(AUTHORIZATION).map(|value| credentials(value.to_str().ok()?));
    let has_custom = headers.contains_key(custom);
    let custom = headers.get_all(custom).map(|value| Some((Scheme::Bearer, value.to_str().ok()?.trim())));
    // Beside the custom header, another scheme is a proxy's business, not a second token.
    let mut tokens = standard.filter(|token| token.is_some() || !has_custom).chain(custom);
    let token = tokens.next().ok_or_else(missing)?;
    if tokens.any(|other| other != token) {
        return Err(Refusal::new(Reason::TokenInvalid, "The request carries two different tokens. Send one."));
    }
    token.filter(|(_, token)| !token.is_empty()).ok_or_else(|| {
        Refusal::new(Reason::TokenInvalid, "The token header is malformed. Send 'Authorization: Bearer <token>'.")
    })
}

/// The token of `Bearer <token>` (RFC 6750 section 2.1) or `DPoP <token>` (RFC 9449 section 7.1).
fn credentials(value: &str) -> Option<(Scheme, &str)> {
    let (name, token) = value.split_once(' ')?;
    let named = |scheme: &str| name.eq_ignore_ascii_case(scheme);
    let scheme = named("bearer").then_some(Scheme::Bearer).or_else(|| named("dpop").then_some(Scheme::Dpop))?;
    Some((scheme, token.trim()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<String, Reason> {
        let request = headers.iter().fold(TestRequest::default(), |request, header| request.append_header(*header));
        let token = |(scheme, token): (Scheme, &str)| match scheme {
            Scheme::Bearer => token.to_owned(),
            Scheme::Dpop => format!("dpop:{token}"),
        };
        presented(&request.to_http_request(), "x-workflow-token").map(token).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_proxy_may_use_another_scheme_beside_the_custom_header() {
        let (basic, custom) = (("authorization", "Basic dTpw"), ("x-workflow-token", "a"));
        assert_eq!(read(&[basic, custom]), Ok("a".into()));
        assert_eq!(read(&[basic]), Err(Reason::TokenInvalid));
        assert_eq!(read(&[("authorization", "Bearer a"), custom]), Ok("a".into()));
        assert_eq!(read(&[("authorization", "Bearer b"), custom]), Err(Reason::TokenInvalid));
        assert_eq!(read(&[("authorization", "Bearer b"), basic, custom]), Err(Reason::TokenInvalid));
        assert_eq!(read(&[]), Err(Reason::TokenMissing));
        assert_eq!(read(&[("authorization", "dpop a")]), Ok("dpop:a".into()));
        assert_eq!(read(&[("authorization", "DPoP a"), custom]), Err(Reason::TokenInvalid), "one scheme or the other");
        assert_eq!(read(&[("authorization", "DPoP a"), ("authorization", "Bearer a")]), Err(Reason::TokenInvalid));
    }
}
