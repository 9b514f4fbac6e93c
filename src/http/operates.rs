//! Operators, and the permission that an admin handler's signature names.
//!
//! `Operates<Review>` exists only for an operator one of whose roles covers reviewing. Whoever is known and may not is
//! told which roles may, and the refusal is recorded with his name.

use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::app::App;
use crate::domain::admin::AdminAct;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Reason, Refusal};
use crate::identity::Scheme;

use super::asker::Asker;
use super::auth::{self, missing};
use super::context;
use super::problem::Problem;

/// A permission of the admin listener.
pub(super) trait AdminPermission: 'static {
    /// The act that one of the operator's roles must cover.
    const ACT: AdminAct;
}

macro_rules! permissions {
    ($($name:ident),*) => {
        $(
            #[doc = concat!("[`AdminAct::", stringify!($name), "`].")]
            pub(super) struct $name;

            impl AdminPermission for $name {
                const ACT: AdminAct = AdminAct::$name;
            }
        )*
    };
}

permissions!(Look, AskForAccess, Review, Provision, Revoke, Administer);

/// An operator who holds a permission.
pub(super) struct Operates<P> {
    /// Who acts.
    pub(super) who: Operator,
    permission: PhantomData<P>,
}

impl<P: AdminPermission> FromRequest for Operates<P> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let context = context::of(request).0;
        let app = request.app_data::<web::Data<App>>().cloned();
        let request = request.clone();
        async move {
            let Some(app) = app else { return Err(Problem::new(missing(), context.request_id)) };
            let result = match presented(&request) {
                Ok(token) => app.authenticate_operator(token).await,
                Err(refusal) => Err(refusal),
            };
            let who = match result {
                Ok(who) => who,
                Err(refusal) => {
                    return Err(Problem::new(app.refuse_anonymous(&context, refusal).await, context.request_id));
                }
            };
            match app.authorise_operator(&context, &who, P::ACT).await {
                Ok(()) => {
                    Asker::Operator.note(&request);
                    Ok(Self { who, permission: PhantomData })
                }
                Err(refusal) => Err(Problem::new(refusal, context.request_id)),
            }
        }
        .boxed_local()
    }
}

/// The one token of the request.
pub(super) fn presented(request: &HttpRequest) -> Result<&str, Refusal> {
    auth::presented(request, "x-admin-token").and_then(bearer_only)
}

/// No operator's token is bound to a key.
fn bearer_only((scheme, token): (Scheme, &str)) -> Result<&str, Refusal> {
    match scheme {
        Scheme::Bearer => Ok(token),
        Scheme::Dpop => {
            Err(Refusal::new(Reason::TokenInvalid, "Send an operator's token as 'Authorization: Bearer <token>'."))
        }
    }
}
