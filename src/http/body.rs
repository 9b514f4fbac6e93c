//! JSON bodies: bounded, hashed, and read into a type with an error that names the field.
//!
//! The extractor itself never fails: a body that cannot be read is a refusal, and refusals are recorded by the use case
//! that would have taken it. So is one that came so slowly that whoever sends it has been revoked meanwhile.

use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt};
use serde::de::DeserializeOwned;

use crate::domain::bytes::Sha256Digest;
use crate::domain::refusal::{Reason, Refusal};

use super::asker;

/// How long a whole body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest body in bytes.
pub(super) const LARGEST: usize = 64 * 1024;

/// A body as it was received.
pub(super) struct Body<T> {
    /// What was read, or why not.
    pub(super) parsed: Result<T, Refusal>,
    /// The digest of the bytes, where all of them were read.
    pub(super) digest: Option<Sha256Digest>,
}

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = std::convert::Infallible;
    type Future = LocalBoxFuture<'static, Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let json = is_json(request);
        let bytes = read(request, payload);
        let request = request.clone();
        async move {
            let begun = Instant::now();
            let bytes = match bytes.await {
                Ok(bytes) => bytes,
                Err(refusal) => return Ok(Self { parsed: Err(refusal), digest: None }),
            };
            let digest = Some(Sha256Digest::of(&bytes));
            if begun.elapsed() > asker::PROMPT
                && let Err(refusal) = asker::look_again(&request).await
            {
                return Ok(Self { parsed: Err(refusal), digest });
            }
            let parsed = if json { parse(&bytes) } else { Err(not_json()) };
            Ok(Self { parsed, digest })
        }
        .boxed_local()
    }
}

/// Reads a body that was taken whole as JSON.
pub(super) fn json<T: DeserializeOwned>(request: &HttpRequest, bytes: &[u8]) -> Result<T, Refusal> {
    if is_json(request) { parse(bytes) } else { Err(not_json()) }
}

/// A body's bytes, whatever they are; for what is not JSON alone.
pub(super) struct RawBody(pub(super) Result<Vec<u8>, Refusal>);

impl FromRequest for RawBody {
    type Error = std::convert::Infallible;
    type Future = LocalBoxFuture<'static, Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = read(request, payload);
        async move { Ok(Self(bytes.await)) }.boxed_local()
    }
}

fn is_json(request: &HttpRequest) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case("+json"))
}

fn read(request: &HttpRequest, payload: &mut Payload) -> impl Future<Output = Result<Vec<u8>, Refusal>> + use<> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let payload = payload.take();
    async move {
        if declared.is_some_and(|length| length > LARGEST) {
            return Err(too_large());
        }
        let bytes = Vec::with_capacity(declared.unwrap_or_default());
        tokio::time::timeout(PATIENCE, collect(payload, bytes)).await.unwrap_or_else(|_| Err(too_slow()))
    }
}

async fn collect(mut payload: Payload, mut bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            Refusal::new(Reason::MalformedRequest, format!("The request's body could not be read: {error}."))
        })?;
        if bytes.len() + chunk.len() > LARGEST {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_slow() -> Refusal {
    Refusal::new(
        Reason::RequestTimeout,
        format!("The request's body did not arrive within {} seconds. Send the request again.", PATIENCE.as_secs()),
    )
}

fn too_large() -> Refusal {
    Refusal::new(
        Reason::BodyTooLarge,
        "The request's body is larger than 64 KiB. Send only the description here; the file goes to the uploadUrl.",
    )
    .limit(LARGEST as u64)
}

fn not_json() -> Refusal {
    Refusal::new(Reason::UnsupportedMediaType, "Send the body as JSON with the header Content-Type: application/json.")
        .allowed(["application/json"])
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // serde reads a struct from an array too, by position; the contract has objects only.
    if bytes.trim_ascii_start().first().is_some_and(|&first| first != b'{') {
        return Err(Refusal::new(
            Reason::MalformedRequest,
            "The body is not a JSON object. Send one, for example {\"filename\":\"menu.jpg\", ...}.",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| unread::<T>(bytes, &error))
}

/// What is wrong with a body: read once more, slower, for the name of the field.
fn unread<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> Refusal {
    let again = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(bytes));
    match again {
        Err(error) if error.inner().is_data() => {
            let path = error.path().to_string();
            let field = if path == "." { String::new() } else { format!("Field '{path}': ") };
            let text = error.into_inner().to_string();
            Refusal::new(Reason::InvalidField, format!("{field}{}.", without_value(without_position(&text))))
        }
        _ => malformed(error),
    }
}

fn malformed(error: &serde_json::Error) -> Refusal {
    Refusal::new(Reason::MalformedRequest, format!("The body is not valid JSON: {error}."))
}

/// serde quotes a text that is of the wrong type; the field's name is enough, and the text may be a secret.
fn without_value(text: &str) -> String {
    match (text.find(" string \""), text.rfind("\", expected ")) {
        (Some(start), Some(end)) if start < end => format!("{} string{}", &text[..start], &text[end + 1..]),
        _ => text.to_owned(),
    }
}

/// serde_json appends ` at line 1 column 5`, which helps nobody who built the body with a tool.
fn without_position(text: &str) -> &str {
    text.rfind(" at line ").map_or(text, |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code, reason = "only its parsing is looked at")]
        size: u64,
    }

    #[test]
    fn errors_name_the_field() {
        let refusal = parse::<Sample>(br#"{"size":"ten"}"#).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidField);
        assert_eq!(refusal.detail, "Field 'size': invalid type: string, expected u64.");
        let refusal = parse::<Sample>(br#"{"size":1,"sise":2}"#).unwrap_err();
        assert!(refusal.detail.contains("unknown field `sise`"), "{}", refusal.detail);
        assert_eq!(parse::<Sample>(b"[1]").unwrap_err().reason, Reason::MalformedRequest);
        assert_eq!(parse::<Sample>(b"{").unwrap_err().reason, Reason::MalformedRequest);
        assert_eq!(parse::<Sample>(br#"{"size":1} x"#).unwrap_err().reason, Reason::MalformedRequest);
    }
}
