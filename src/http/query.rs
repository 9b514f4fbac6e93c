//! Tokens in addresses: refused on every route of both listeners, whatever kind they are.
//!
//! Addresses are logged by proxies, kept by browsers and sent on in `Referer`. So RFC 6750 section 2.3 is not offered, and
//! whoever tries hears that the token has to be replaced.

use actix_web::dev::ServiceRequest;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpResponse, ResponseError};
use percent_encoding::percent_decode_str;

use crate::app::App;
use crate::domain::refusal::{Reason, Refusal};

use super::context::Context;
use super::problem::Problem;

/// Parameters that hold credentials in RFC 6749, 6750, 7521 and 8693, whatever their value looks like.
const CREDENTIALS: [&str; 8] = [
    "access_token",
    "id_token",
    "refresh_token",
    "subject_token",
    "actor_token",
    "client_assertion",
    "client_secret",
    "assertion",
];

/// The refusal where a query carries a token.
pub(super) fn refusal(query: &str) -> Option<Refusal> {
    if query.is_empty() {
        return None;
    }
    let query = percent_decode_str(query).decode_utf8_lossy();
    let names = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        CREDENTIALS.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    (holds_token(&query) || query.split('&').any(names)).then(|| {
        Refusal::new(
            Reason::TokenInQuery,
            "Never put a token into an address: addresses are logged. Send it in a header, and ask for a new one.",
        )
    })
}

/// Whether the text holds what looks like a token: one of ours, or a JWT (RFC 7519), which is two JSON objects in base64url
/// with a dot between them, and whatever follows.
pub(super) fn holds_token(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("eyJ") {
        let tail = &rest[at..];
        let word = tail.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)).count();
        if tail[..word].contains(".eyJ") {
            return true;
        }
        rest = &tail[word..];
    }
    text.contains("vst_")
}

/// Records the refusal; the answer.
pub(super) async fn refuse(request: &ServiceRequest, app: Option<&Data<App>>, refusal: Refusal) -> HttpResponse {
    let context = request.extensions().get::<Context>().cloned();
    match (app, context) {
        (Some(app), Some(Context(context))) => {
            Problem::new(app.refuse_anonymous(&context, refusal).await, context.request_id).error_response()
        }
        _ => Problem::new(refusal, "").error_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn every_kind_of_token_is_noticed_and_nothing_else() {
        for query in [
            "token=vst_live_abc",
            "a=%76st_live_abc",
            "x=eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
            "x=eyJhbGciOiJub25lIn0%2EeyJzdWIiOiJ4In0%2E",
            "access_token=x",
            "a=1&Access_Token=x",
            "a=1&access%5Ftoken=x",
            "subject_token=x",
            "id_token=x",
            "client_secret=x",
        ] {
            assert!(refusal(query).is_some(), "{query}");
        }
        for query in
            ["", "prefix=uploads/u-42/&limit=5", "token=0123456789abcdef", "name=heyJude.jpg", "code=x", "a=eyJ0.x"]
        {
            assert!(refusal(query).is_none(), "{query}");
        }
    }
}
