//! `/admin/tokens`: create and revoke; how a token is shown.

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::{App, CreatedToken, NewToken};
use crate::domain::admin::{AdminRole, AdminRoles};
use crate::domain::audit::AuditAction;
use crate::domain::ids::{ParseIdError, TokenId};
use crate::domain::principal::{Environment, Subject};
use crate::domain::refusal::{Reason, Refusal};
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::operates::{Operates, Provision, Revoke};
use crate::http::problem::{Document, Problem};
use crate::store::{TokenHolder, TokenRecord};

/// The person on whose behalf a workflow acts. Whoever makes the token vouches for it; policies compare it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct SubjectBody {
    /// The person's stable id at your identity provider.
    user: String,
    /// What the person is to the organisation, for example `clinician`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// The project that the person works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// The device that the person acts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Whether somebody has attested that the device is one of the organisation's.
    #[serde(default)]
    device_attested: bool,
}

impl TryFrom<SubjectBody> for Subject {
    type Error = ParseIdError;

    fn try_from(body: SubjectBody) -> Result<Self, ParseIdError> {
        let SubjectBody { user, role, project, device, device_attested } = body;
        Ok(Self { user, role: role.map(|role| role.parse()).transpose()?, project, device, device_attested })
    }
}

impl From<&Subject> for SubjectBody {
    fn from(subject: &Subject) -> Self {
        let Subject { user, role, project, device, device_attested } = subject.clone();
        Self { user, role: role.map(|role| role.to_string()), project, device, device_attested }
    }
}

/// What to make a token for: a workflow of an app, or an operator.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"app":"where2eat","workflow":"menu-import","environment":"live"}))]
pub(in crate::http) struct NewTokenBody {
    /// The app; must have a manifest.
    app: Option<String>,
    /// The workflow that will hold the token.
    workflow: Option<String>,
    /// Who answers for it; the manifest's owner where absent.
    owner: Option<String>,
    /// `live` (the default) or `test`.
    environment: Option<String>,
    /// At least one scope; everything of the app where absent.
    scopes: Option<Vec<String>>,
    /// The person on whose behalf the workflow acts; classes that are regulated ask for one.
    subject: Option<SubjectBody>,
    /// The key that whoever sends the token must prove to hold: `jkt:` and the thumbprint of a DPoP key (RFC 9449), or
    /// `x5t#S256:` and that of a client certificate (RFC 8705). None where absent.
    #[schema(example = "jkt:0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]
    binding: Option<String>,
    /// Makes an admin token for an operator of this name instead.
    operator: Option<String>,
    /// What the operator may do: `viewer`, `reviewer`, `provisioner`, `admin` (the default).
    roles: Option<Vec<String>>,
    /// When the token stops working (RFC 3339). Where absent, a workflow's ends after `max_token_ttl` of `access.toml`, the longest
    /// it may be, and an operator's never.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl TryFrom<NewTokenBody> for NewToken {
    type Error = Refusal;

    fn try_from(body: NewTokenBody) -> Result<Self, Refusal> {
        fn invalid(field: &str, error: impl std::fmt::Display) -> Refusal {
            Refusal::new(Reason::InvalidField, format!("{field}: {error}."))
        }
        if let Some(name) = body.operator {
            let workflows = [body.app, body.workflow, body.owner, body.environment];
            let others = body.scopes.is_some() || body.subject.is_some() || body.binding.is_some();
            if workflows.iter().any(Option::is_some) || others {
                let text = "an operator has a name and perhaps expiresAt; scopes and the like are a workflow's";
                return Err(invalid("operator", text));
            }
            let roles = match body.roles {
                None => AdminRoles::admin(),
                Some(roles) => roles
                    .iter()
                    .map(|role| role.parse::<AdminRole>())
                    .collect::<Result<AdminRoles, _>>()
                    .map_err(|error| invalid("roles", error).allowed(AdminRole::ALL.map(AdminRole::as_str)))?,
            };
            if roles.is_empty() {
                return Err(invalid("roles", "an empty list would allow nothing; leave the field out for admin"));
            }
            return Ok(NewToken::Operator { name, roles, expires_at: body.expires_at });
        }
        if body.roles.is_some() {
            return Err(invalid("roles", "only an operator has roles; a workflow has scopes"));
        }
        let (Some(app), Some(workflow)) = (body.app, body.workflow) else {
            return Err(invalid("app, workflow", "both are needed, for example where2eat and menu-import"));
        };
        let environment = match body.environment.as_deref() {
            None | Some("live") => Environment::Live,
            Some("test") => Environment::Test,
            Some(_) => return Err(invalid("environment", "must be live or test").allowed(["live", "test"])),
        };
        if body.scopes.as_ref().is_some_and(Vec::is_empty) {
            let text = "an empty list would allow nothing; leave the field out for everything of the app";
            return Err(invalid("scopes", text));
        }
        let scopes = body.scopes.unwrap_or_default();
        Ok(NewToken::Workflow {
            app: app.parse().map_err(|error| invalid("app", error))?,
            workflow: workflow.parse().map_err(|error| invalid("workflow", error))?,
            owner: body.owner.map(|owner| owner.parse()).transpose().map_err(|error| invalid("owner", error))?,
            environment,
            scopes: scopes
                .iter()
                .map(|scope| scope.parse().map_err(|error| invalid("scopes", error)))
                .collect::<Result<_, _>>()?,
            subject: body.subject.map(Subject::try_from).transpose().map_err(|error| invalid("subject", error))?,
            binding: body.binding.map(|own| own.parse()).transpose().map_err(|error| invalid("binding", error))?,
            expires_at: body.expires_at,
        })
    }
}

/// A token without its secret.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct TokenView {
    /// The public half; appears in logs and in the audit trail.
    token_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<SubjectBody>,
    /// The key that whoever sends the token must prove to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// `provisioned`, `exchanged` or `derived`.
    origin: &'static str,
    /// The trusted issuer whose assertion it was exchanged for.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// The token that it was derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// When it was used last, some seconds behind; never where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// The token that has followed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
    /// The request for access that it was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl From<&TokenRecord> for TokenView {
    fn from(record: &TokenRecord) -> Self {
        let mut view = Self {
            token_id: record.id.to_string(),
            app: None,
            workflow: None,
            owner: None,
            environment: None,
            scopes: Vec::new(),
            subject: None,
            binding: record.binding.map(|binding| binding.to_string()),
            operator: None,
            roles: Vec::new(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            origin: record.origin.as_str(),
            issuer: record.issuer.clone(),
            parent: record.parent.as_ref().map(ToString::to_string),
            last_used_at: record.last_used_at,
            successor: record.successor.as_ref().map(ToString::to_string),
            request_id: record.request.map(|id| id.to_string()),
        };
        match &record.holder {
            TokenHolder::Workflow { app, workflow, owner, environment, scopes, subject } => {
                view.app = Some(app.to_string());
                view.workflow = Some(workflow.to_string());
                view.owner = Some(owner.to_string());
                view.environment = Some(environment.as_str());
                view.scopes = scopes.iter().map(ToString::to_string).collect();
                view.subject = subject.as_ref().map(SubjectBody::from);
            }
            TokenHolder::Operator { name, roles } => {
                view.operator = Some(name.clone());
                view.roles = roles.iter().map(|role| role.to_string()).collect();
            }
        }
        view
    }
}

/// A new token. It is shown here and never again.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct CreatedTokenAnswer {
    /// The whole token. A credential: hand it to its workflow and nobody else.
    token: String,
    #[serde(flatten)]
    view: TokenView,
}

impl From<&CreatedToken> for CreatedTokenAnswer {
    fn from(created: &CreatedToken) -> Self {
        Self { token: created.token.expose().to_owned(), view: TokenView::from(&created.record) }
    }
}

/// Makes a token.
#[utoipa::path(
    post, path = "/admin/tokens", tag = "tokens", request_body = NewTokenBody, security(("bearer" = [])),
    responses(
        (status = 201, description = "The token, shown once", body = CreatedTokenAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn create_token(
    app: web::Data<App>,
    who: Operates<Provision>,
    context: Context,
    body: Body<NewTokenBody>,
) -> Result<HttpResponse, Problem> {
    let context = context.with_body(body.digest);
    let created = app
        .create_token(&context.0, &who.who, body.parsed.and_then(TryInto::try_into))
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Created().json(CreatedTokenAnswer::from(&created)))
}

/// Revokes a token; effective everywhere within a second.
#[utoipa::path(
    delete, path = "/admin/tokens/{id}", tag = "tokens", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tokenId")),
    responses(
        (status = 204, description = "Revoked; revoking twice is success"),
        (status = 404, description = "There is no such token", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn revoke_token(
    app: web::Data<App>,
    who: Operates<Revoke>,
    context: Context,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let result = match id.parse::<TokenId>() {
        Ok(id) => app.revoke_token(&context.0, &who.who, &id, None).await.map(drop),
        Err(error) => {
            let refusal = Refusal::new(Reason::NotFound, format!("There is no such token: {error}."));
            Err(app.refuse_operator(&context.0, &who.who, AuditAction::RevokeToken, refusal).await)
        }
    };
    result.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<NewToken, Refusal> {
        serde_json::from_str::<NewTokenBody>(json).unwrap().try_into()
    }

    #[test]
    fn an_empty_list_of_scopes_is_no_wildcard() {
        let refusal = read(r#"{"app":"a","workflow":"w","scopes":[]}"#).unwrap_err();
        assert!(refusal.reason == Reason::InvalidField && refusal.detail.starts_with("scopes:"), "{refusal}");
        assert!(read(r#"{"app":"a","workflow":"w"}"#).is_ok());
        assert!(read(r#"{"app":"a","workflow":"w","scopes":["storage:*:a:read"]}"#).is_ok());
    }

    #[test]
    fn a_subject_is_read_whole_or_not_at_all() {
        let body = |subject: &str| format!(r#"{{"app":"a","workflow":"w","subject":{subject}}}"#);
        let whole = r#"{"user":"u-42","role":"clinician","project":"p","device":"d","deviceAttested":true}"#;
        let NewToken::Workflow { subject: Some(subject), .. } = read(&body(whole)).unwrap() else { panic!() };
        assert_eq!((subject.user.as_str(), subject.device_attested), ("u-42", true));
        assert_eq!(serde_json::to_string(&SubjectBody::from(&subject)).unwrap(), whole);
        let refusal = read(&body(r#"{"user":"u","role":"Chief Doctor"}"#)).unwrap_err();
        assert!(refusal.detail.starts_with("subject: role must be"), "{refusal}");
        assert!(serde_json::from_str::<NewTokenBody>(&body(r#"{"role":"clinician"}"#)).is_err());
        assert!(serde_json::from_str::<NewTokenBody>(&body(r#"{"user":"u","admin":true}"#)).is_err());
    }

    #[test]
    fn an_operator_takes_nothing_of_a_workflow() {
        assert!(read(r#"{"operator":"ada"}"#).is_ok());
        let roles = read(r#"{"operator":"ada","roles":["reviewer","viewer"]}"#).unwrap();
        let NewToken::Operator { roles, .. } = roles else { panic!("{roles:?}") };
        assert_eq!(roles.to_string(), "viewer, reviewer");
        for wrong in [r#"{"operator":"ada","roles":[]}"#, r#"{"operator":"ada","roles":["root"]}"#] {
            assert!(read(wrong).unwrap_err().detail.starts_with("roles:"), "{wrong}");
        }
        assert!(read(r#"{"app":"a","workflow":"w","roles":["admin"]}"#).is_err());
        for field in [
            r#""app":"a""#,
            r#""owner":"o""#,
            r#""subject":{"user":"u"}"#,
            r#""environment":"test""#,
            r#""binding":"jkt:0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I""#,
            r#""scopes":["storage:*:a:read"]"#,
        ] {
            let refusal = read(&format!(r#"{{"operator":"ada",{field}}}"#)).unwrap_err();
            assert!(refusal.detail.starts_with("operator:"), "{field}: {refusal}");
        }
    }
}
