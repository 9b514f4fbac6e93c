//! The routes of OAuth: tokens for tokens (RFC 8693), introspection (RFC 7662), giving back (RFC 7009), and what clients
//! find out by themselves (RFC 8414, RFC 7517).
//!
//! Whoever asks in OAuth's form, form-encoded, gets OAuth's answers: `application/json` with `error` and `error_description`
//! (RFC 6749 section 5.2), which hold everything that a problem document does. Absent on purpose: refresh tokens, clients'
//! secrets, and redirects; people sign in at their identity provider.

mod exchange;
mod form;
mod introspect;
mod metadata;
mod proof;
mod revoke;

pub(in crate::http) use exchange::{
    __path_exchange, __path_issue_token, __path_token, ExchangeBody, TokenAnswer, TokenForm, exchange, issue_token,
    token,
};
pub(in crate::http) use introspect::{__path_introspect, IntrospectionAnswer, introspect};
pub(in crate::http) use metadata::{__path_jwks, __path_metadata, KeySet, Metadata, jwks, metadata};
pub(in crate::http) use revoke::{__path_revoke, revoke};

pub(in crate::http) use form::OneToken;
