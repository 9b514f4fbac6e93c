//! The parameters of a query, read into a type.
//!
//! As with bodies, the extractor itself never fails: a query that cannot be read is a refusal, and refusals are recorded by the
//! use case that would have taken it.

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use crate::domain::refusal::{Reason, Refusal};

/// What was read, or why not.
pub(super) struct Parameters<T>(pub(super) Result<T, Refusal>);

impl<T: DeserializeOwned> FromRequest for Parameters<T> {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = web::Query::from_query(request.query_string());
        let unreadable = |error| Refusal::new(Reason::InvalidField, format!("The query cannot be read: {error}."));
        ready(Ok(Self(read.map(web::Query::into_inner).map_err(unreadable))))
    }
}
