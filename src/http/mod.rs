//! HTTP: two listeners, thin handlers, one error shape.
//!
//! A handler extracts, calls one verb of `app` and maps the answer; its signature names the permission that it needs.
//! Routes of one listener do not exist on the other. Absent on purpose: rules, storage and SQL.

mod admin;
mod admission;
mod answer;
mod asker;
mod auth;
mod body;
mod client_certificates;
mod context;
mod cors;
mod endpoint;
mod events;
mod guarded;
mod limits;
mod middleware;
mod openapi;
mod operates;
mod parameters;
mod possession;
mod problem;
mod public;
mod query;
mod server;
mod sunset;
mod tls;

pub use admin::{AdminRoute, ROUTES as ADMIN_ROUTES, review_json};
pub use events::Push;
pub use openapi::{admin_description, public_description};
pub use problem::Problem;
pub use server::{Bound, Bounds, Listener, ServeError, Servers};
pub use tls::{CertificateReloader, TlsError};
