//! `GET /admin/tokens`: which tokens there are, without secrets.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::domain::ids::TokenId;
use crate::domain::refusal::{Reason, Refusal};
use crate::http::context::Context;
use crate::http::operates::{Look, Operates};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::store::{TokenOrigin, TokenQuery};

use super::tokens::TokenView;

/// The query of `GET /admin/tokens`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct TokenParameters {
    /// Only of this app.
    app: Option<String>,
    /// Only of this owner.
    owner: Option<String>,
    /// `provisioned` where absent, `exchanged`, `derived`, or `all`: those that were exchanged are many, and end by themselves.
    origin: Option<String>,
    /// `true` for those alone that are neither revoked nor past their end.
    in_force: Option<bool>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Tokens a page: 1 to 10,000, 1,000 where absent.
    limit: Option<usize>,
}

/// What is asked for, and the token after which the page begins.
type Asked = (TokenQuery, Option<TokenId>);

impl TokenParameters {
    fn parse(self, app: &App) -> Result<Asked, Refusal> {
        fn invalid(field: &str, error: impl std::fmt::Display) -> Refusal {
            Refusal::new(Reason::InvalidField, format!("{field}: {error}."))
        }
        let limit = self.limit.unwrap_or(1000);
        if !(1..=10_000).contains(&limit) {
            return Err(invalid("limit", "must be 1 to 10000").limit(10_000));
        }
        let origin = match self.origin.as_deref() {
            None => Some(TokenOrigin::Provisioned),
            Some("all") => None,
            Some(name) => Some(TokenOrigin::from_name(name).ok_or_else(|| {
                let known = TokenOrigin::ALL.map(TokenOrigin::as_str).into_iter().chain(["all"]);
                invalid("origin", "a token has no such origin").allowed(known)
            })?),
        };
        let query = TokenQuery {
            app: self.app.map(|app| app.parse()).transpose().map_err(|error| invalid("app", error))?,
            owner: self.owner.map(|owner| owner.parse()).transpose().map_err(|error| invalid("owner", error))?,
            origin,
            in_force_at: self.in_force.unwrap_or_default().then(|| app.clock.now()),
            before: None,
            limit,
        };
        let cursor = self.cursor.map(|cursor| cursor.parse()).transpose().map_err(|error| invalid("cursor", error))?;
        Ok((query, cursor))
    }
}

/// A page of tokens.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct TokenList {
    /// Newest first.
    tokens: Vec<TokenView>,
    /// Send it as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
}

/// Lists tokens, those that were provisioned where nothing else is asked for.
#[utoipa::path(
    get, path = "/admin/tokens", tag = "tokens", security(("bearer" = [])), params(TokenParameters),
    responses((status = 200, description = "A page, without secrets", body = TokenList))
)]
pub(in crate::http) async fn list_tokens(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    query: Parameters<TokenParameters>,
) -> Result<HttpResponse, Problem> {
    let query = query.0.and_then(|query| query.parse(&app));
    let (tokens, next) = app
        .list_tokens(&context.0, &who.who, query)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let tokens = tokens.iter().map(TokenView::from).collect();
    Ok(HttpResponse::Ok().json(TokenList { tokens, next_cursor: next.map(|id| id.to_string()) }))
}
