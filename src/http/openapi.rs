//! The description of both listeners: OpenAPI 3.1 for machines, a page for people, and the error table in both.
//!
//! Made from the handlers' own types, so that it cannot drift from them.

use std::fmt::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi, PathItem};
use utoipa::{Modify, OpenApi as _};

use crate::app::{Health, ObjectView};
use crate::domain::refusal::Reason;
use crate::policy::bodies::{DownloadBody, UploadBody};

use super::answer::{DownloadAnswer, UploadAnswer};
use super::problem::Document;
use super::{admin, events, public};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Vestibule",
        description = "Ask for permission to upload or download one object; the bytes go to the storage directly. What was \
                       uploaded becomes visible only after it has been scanned and its type has been checked."
    ),
    paths(
        public::request_upload, public::request_download, public::get_object, public::list_objects,
        public::delete_object, public::get_limits, public::follow_link, public::look_at_claim, public::claim_token,
        public::healthz, public::readyz, public::openapi, public::docs, events::eventgrid, events::sns,
        public::exchange, public::token, public::issue_token, public::introspect, public::revoke, public::metadata,
        public::jwks
    ),
    components(schemas(
        UploadBody, UploadAnswer, DownloadBody, DownloadAnswer, ObjectView, public::ObjectList, public::LimitsAnswer,
        public::ClaimView, public::ClaimAnswer, Document<'static>, Health, public::ExchangeBody, public::TokenForm,
        public::TokenAnswer, public::OneToken, public::IntrospectionAnswer, public::Metadata, public::KeySet
    )),
    modifiers(&Schemes)
)]
struct Public;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Vestibule, for operators", description = "Tokens, reviews, the audit trail."),
    paths(
        admin::create_token, admin::list_tokens, admin::revoke_token, admin::rotate_token, admin::request_access,
        admin::list_access, admin::get_access, admin::approve_access, admin::deny_access, admin::review_access,
        admin::list_objects, admin::get_object, admin::release_object, admin::delete_object, admin::inspect_object,
        admin::query_audit, admin::dead_letters, admin::list_nodes, admin::list_apps, admin::revoke,
        admin::list_revocations, admin::get_revocation, admin::lift_revocation, admin::list_keys, admin::rotate_key
    ),
    components(schemas(
        admin::NewTokenBody, admin::CreatedTokenAnswer, admin::TokenList, admin::TokenView, admin::ReasonBody,
        admin::RotateBody, admin::RotatedAnswer, admin::AccessBody, admin::AccessAnswer, admin::AccessView,
        admin::AccessList, admin::ReviewAnswer, admin::ReviewRow,
        admin::HeldObject, admin::HeldObjects, admin::WaitingRelease, admin::AuditPage, admin::DeadLetterView,
        admin::KeyList, admin::KeyView, admin::RotateKeyBody, admin::RotatedKeyAnswer, admin::RevocationBody,
        admin::RevocationAnswer, admin::RevocationView, admin::RevocationList, admin::DeedView, admin::DeedsView,
        admin::HoldingsView, admin::NodeList, admin::NodeView, admin::AppList, admin::AppView, Document<'static>
    )),
    modifiers(&Schemes)
)]
struct Admin;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, description: &mut OpenApi) {
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let custom = ApiKey::Header(ApiKeyValue::new("X-Workflow-Token"));
        components.add_security_scheme("basic", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
        components.add_security_scheme("workflowToken", SecurityScheme::ApiKey(custom));
    }
}

/// The public listener's description.
pub fn public_description() -> OpenApi {
    Public::openapi()
}

/// The admin listener's description.
pub fn admin_description() -> OpenApi {
    Admin::openapi()
}

/// A description as it is sent, made once: whoever asks for it again and again without a token costs next to nothing.
pub(super) struct Written {
    /// OpenAPI 3.1.
    pub(super) json: Bytes,
    /// For people.
    pub(super) page: Bytes,
}

impl Written {
    fn of(description: &OpenApi) -> Self {
        let json = serde_json::to_vec(description).unwrap_or_default();
        Self { json: json.into(), page: page(description).into() }
    }
}

/// The public listener's.
pub(super) fn public_written() -> &'static Written {
    static WRITTEN: LazyLock<Written> = LazyLock::new(|| Written::of(&public_description()));
    &WRITTEN
}

/// The admin listener's.
pub(super) fn admin_written() -> &'static Written {
    static WRITTEN: LazyLock<Written> = LazyLock::new(|| Written::of(&admin_description()));
    &WRITTEN
}

/// A page that needs nothing from anywhere else.
fn page(description: &OpenApi) -> String {
    let info = &description.info;
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1><p>{text}</p>\
         <p>For machines: <a href=/openapi.json>openapi.json</a>. Errors are problem documents (RFC 9457); their codes are \
         listed below.</p><h2>Requests</h2>",
        title = escape(&info.title),
        text = escape(info.description.as_deref().unwrap_or_default()),
    );
    for (path, item) in &description.paths.paths {
        operations(&mut html, path, item);
    }
    html.push_str("<h2>Errors</h2><table><tr><th>code<th>status<th>meaning<th>what to do");
    for reason in Reason::ALL {
        let _ = write!(
            html,
            "<tr id={code}><td><code>{code}</code><td>{}<td>{}<td>{}",
            reason.status(),
            escape(reason.title()),
            escape(reason.remedy()),
            code = reason.code(),
        );
    }
    html.push_str("</table>");
    html
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    code,pre{font:14px/1.4 ui-monospace,monospace;background:#f4f4f4;border-radius:3px;padding:.1em .3em}\
    pre{padding:.7em;overflow:auto}table{border-collapse:collapse;width:100%}\
    td,th{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #ddd}h3{margin-top:2em}";

fn operations(html: &mut String, path: &str, item: &PathItem) {
    let methods = [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("DELETE", &item.delete),
        ("PATCH", &item.patch),
    ];
    for (method, operation) in methods {
        let Some(operation) = operation else { continue };
        let summary = operation.summary.as_deref().or(operation.description.as_deref()).unwrap_or_default();
        let _ = write!(html, "<h3><code>{method} {}</code></h3><p>{}</p>", escape(path), escape(summary));
        if let Some(parameters) = &operation.parameters {
            html.push_str("<ul>");
            for parameter in parameters {
                let utoipa::openapi::RefOr::T(parameter) = parameter else { continue };
                let text = parameter.description.as_deref().unwrap_or_default();
                let _ = write!(html, "<li><code>{}</code> {}", escape(&parameter.name), escape(text));
            }
            html.push_str("</ul>");
        }
        html.push_str("<ul>");
        for (status, answer) in &operation.responses.responses {
            let text = match answer {
                utoipa::openapi::RefOr::T(answer) => answer.description.as_str(),
                utoipa::openapi::RefOr::Ref(_) => "",
            };
            let _ = write!(html, "<li><code>{}</code> {}", escape(status), escape(text));
        }
        html.push_str("</ul>");
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
