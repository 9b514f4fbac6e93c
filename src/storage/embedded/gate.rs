//! What is refused before the S3 library sees a request.
//!
//! `s3s` verifies signatures, but lets through what a signature says nothing about: `x-amz-*` headers that were not signed
//! (an ACL, tags, metadata, put on somebody else's URL), checksums hoisted into the query (never compared with the body),
//! lives over seven days, tokens that nobody issued, and Signature Version 2. All of that ends here, as it would at Amazon
//! S3, together with everything that is not signed at all. The gate reads the head of a request only, and it compares
//! times with the injected clock.

use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::REGION;

/// The longest life of a URL, in seconds: seven days, as on Amazon S3.
const LONGEST: i64 = 7 * 86_400;
/// How far a client's clock may be off, in seconds: fifteen minutes, as on Amazon S3.
const SKEW: i64 = 900;
/// The parameters of a signature in the query, in lower case.
const QUERY: [&str; 6] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signature", "x-amz-signedheaders"];
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A refusal in S3's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// The code of the XML error, for example `AccessDenied`.
    pub(super) code: &'static str,
    /// A sentence.
    pub(super) message: &'static str,
}

impl Refusal {
    pub(super) const fn denied(message: &'static str) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "AccessDenied", message }
    }

    pub(super) const fn invalid(message: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "InvalidArgument", message }
    }

    pub(super) const fn not_implemented(message: &'static str) -> Self {
        Self { status: StatusCode::NOT_IMPLEMENTED, code: "NotImplemented", message }
    }
}

/// Where a request goes that may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the S3 library, which verifies its signature.
    S3,
    /// A form: `super::form` verifies its policy.
    Form {
        /// The bucket of the path.
        bucket: String,
        /// The boundary of its parts.
        boundary: String,
    },
}

/// Decides on a request's head.
pub(super) fn check(parts: &Parts, now: Timestamp, max_object_bytes: u64) -> Result<Route, Refusal> {
    once(&parts.headers)?;
    if let Some(length) = parts.headers.get(header::CONTENT_LENGTH) {
        let length = length.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        let length = length.ok_or(Refusal::invalid("the content-length is not a number"))?;
        // Room for the fields of a form; the object's own limit is held while it is written.
        if length > max_object_bytes.saturating_add(1 << 20) {
            return Err(Refusal {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                code: "EntityTooLarge",
                message: "the upload is larger than this store allows",
            });
        }
    }
    if let Some(boundary) = form_boundary(parts) {
        let bucket = parts.uri.path().trim_matches('/');
        if parts.uri.query().is_some() || bucket.contains('/') {
            return Err(Refusal::invalid("a form is sent to the bucket's address without a query"));
        }
        return Ok(Route::Form { bucket: bucket.to_owned(), boundary });
    }
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let query: Vec<(String, String)> = query.into_owned().collect();
    let in_query = query.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("x-amz-signature"));
    let authorization = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let signed_headers = match (in_query, authorization) {
        (true, None) => check_query(&query, now)?,
        (false, Some(authorization)) => check_authorization(authorization, &parts.headers, now)?,
        (true, Some(_)) => return Err(Refusal::invalid("only one way to sign is allowed")),
        (false, None) => return Err(Refusal::denied("requests must be signed")),
    };
    let lower = query.iter().map(|(name, _)| name.to_ascii_lowercase());
    for name in lower.filter(|name| name.starts_with("x-amz-") && !(in_query && QUERY.contains(&name.as_str()))) {
        if name == "x-amz-security-token" {
            return Err(Refusal { code: "InvalidToken", ..Refusal::denied("this store issues no session tokens") });
        }
        if name != "x-amz-checksum-mode" {
            return Err(Refusal::invalid("x-amz parameters must be sent as signed headers, not in the query"));
        }
    }
    if !signed_headers.iter().any(|name| name == "host") {
        return Err(Refusal::denied("the host must be signed"));
    }
    for name in parts.headers.keys() {
        let name = name.as_str();
        if name == "x-amz-security-token" {
            return Err(Refusal { code: "InvalidToken", ..Refusal::denied("this store issues no session tokens") });
        }
        if name.starts_with("x-amz-") && !signed_headers.iter().any(|signed| signed == name) {
            return Err(Refusal::denied("there were x-amz headers in the request that were not signed"));
        }
    }
    if parts.method == Method::PUT && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Refusal {
            status: StatusCode::LENGTH_REQUIRED,
            code: "MissingContentLength",
            message: "an upload must say its length",
        });
    }
    Ok(Route::S3)
}

/// Headers that decide something must not be sent twice: whoever reads the other one is deceived.
fn once(headers: &HeaderMap) -> Result<(), Refusal> {
    let deciding = |name: &str| {
        name.starts_with("x-amz-")
            || name.starts_with("if-")
            || matches!(name, "host" | "content-length" | "content-type" | "content-md5" | "authorization" | "range")
    };
    for name in headers.keys().filter(|name| deciding(name.as_str())) {
        if headers.get_all(name).iter().count() > 1 {
            return Err(Refusal::invalid("a header was sent twice"));
        }
    }
    Ok(())
}

fn form_boundary(parts: &Parts) -> Option<String> {
    if parts.method != Method::POST {
        return None;
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

/// Checks what a signature in the query claims, and returns the headers that it covers.
fn check_query(query: &[(String, String)], now: Timestamp) -> Result<Vec<String>, Refusal> {
    let mut values = [""; QUERY.len()];
    for (slot, wanted) in values.iter_mut().zip(QUERY) {
        let mut found = query.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => *slot = value,
            _ => return Err(Refusal::invalid("a signature in the query has six parameters, each once")),
        }
    }
    let [algorithm, credential, date, expires, _, signed_headers] = values;
    if algorithm != ALGORITHM {
        return Err(Refusal::invalid("only AWS4-HMAC-SHA256 is accepted"));
    }
    check_scope(credential, date)?;
    let signed_at = instant(date)?;
    let expires: i64 = expires.parse().map_err(|_| Refusal::invalid("X-Amz-Expires is not a number"))?;
    if !(1..=LONGEST).contains(&expires) {
        return Err(Refusal {
            code: "AuthorizationQueryParametersError",
            ..Refusal::invalid("X-Amz-Expires must be between one second and seven days")
        });
    }
    if signed_at.as_second() - now.as_second() > SKEW {
        return Err(Refusal::denied("the request is dated in the future"));
    }
    if now.as_second() > signed_at.as_second() + expires {
        return Err(Refusal::denied("the request has expired"));
    }
    Ok(signed_headers.split(';').map(str::to_owned).collect())
}

/// Checks what an `Authorization` header claims, and returns the headers that it covers.
fn check_authorization(value: &str, headers: &HeaderMap, now: Timestamp) -> Result<Vec<String>, Refusal> {
    let refused = Refusal::invalid("only AWS4-HMAC-SHA256 is accepted");
    let rest = value.strip_prefix(ALGORITHM).ok_or(refused)?;
    let part = |wanted: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(wanted)).ok_or(refused);
    let date = headers.get("x-amz-date").and_then(|date| date.to_str().ok());
    let date = date.ok_or(Refusal::denied("x-amz-date is missing"))?;
    check_scope(part("Credential=")?, date)?;
    if (instant(date)?.as_second() - now.as_second()).abs() > SKEW {
        return Err(Refusal {
            code: "RequestTimeTooSkewed",
            ..Refusal::denied("the request's time is too far from the store's")
        });
    }
    Ok(part("SignedHeaders=")?.split(';').map(str::to_owned).collect())
}

/// `<access key>/<date>/<region>/s3/aws4_request`, where the date is that of the signature.
pub(super) fn check_scope(credential: &str, date: &str) -> Result<(), Refusal> {
    match credential.split('/').collect::<Vec<_>>()[..] {
        [_, day, REGION, "s3", "aws4_request"] if date.starts_with(day) && day.len() == 8 => Ok(()),
        _ => Err(Refusal {
            code: "AuthorizationHeaderMalformed",
            ..Refusal::invalid("the credential is not for this store's region, or not of the signature's day")
        }),
    }
}

/// `YYYYMMDDTHHMMSSZ`.
pub(super) fn instant(date: &str) -> Result<Timestamp, Refusal> {
    let parsed = DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok().filter(|_| date.len() == 16);
    let parsed = parsed.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    parsed.map(|date| date.timestamp()).ok_or(Refusal::invalid("the date is not of the form YYYYMMDDTHHMMSSZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T10:00:00Z";
    const SIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F20261121%2Fembedded%2Fs3%2Faws4_request\
        &X-Amz-Date=20261121T095900Z&X-Amz-Expires=300&X-Amz-SignedHeaders=content-length%3Bhost&X-Amz-Signature=0";

    fn put(query: &str, headers: &[(&str, &str)]) -> Result<Route, Refusal> {
        let mut request = http::Request::put(format!("/menus/a?{query}")).header("content-length", "4");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, NOW.parse().unwrap(), 1 << 30)
    }

    #[test]
    fn a_well_formed_signature_goes_on_to_be_verified() {
        assert_eq!(put(SIGNED, &[]), Ok(Route::S3));
        assert_eq!(put(&format!("{SIGNED}&x-grant-id=grt_1"), &[("content-type", "image/jpeg")]), Ok(Route::S3));
    }

    #[test]
    fn what_is_not_signed_is_refused() {
        assert!(put("", &[]).is_err());
        assert!(put("AWSAccessKeyId=K&Signature=x&Expires=9999999999", &[]).is_err());
        assert!(put("", &[("authorization", "AWS K:signature")]).is_err());
        for header in ["x-amz-acl", "x-amz-tagging", "x-amz-meta-a", "x-amz-copy-source", "x-amz-security-token"] {
            assert!(put(SIGNED, &[(header, "v")]).is_err(), "{header}");
        }
        assert!(put(&SIGNED.replace("%3Bhost", ""), &[]).is_err());
    }

    #[test]
    fn what_a_query_must_not_say_is_refused() {
        for extra in ["x-amz-checksum-sha256=AA", "X-Amz-Security-Token=t", "x-amz-acl=public-read", "X-Amz-Date=x"] {
            assert!(put(&format!("{SIGNED}&{extra}"), &[]).is_err(), "{extra}");
        }
        for (from, to) in [
            ("Expires=300", "Expires=604801"),
            ("Expires=300", "Expires=0"),
            ("Expires=300", "Expires=-1"),
            ("Expires=300", "Expires=59"),
            ("T095900Z", "T101501Z"),
            ("T095900Z", "T095900"),
            ("embedded", "us-east-1"),
            ("20261121%2F", "20261120%2F"),
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ] {
            assert!(put(&SIGNED.replace(from, to), &[]).is_err(), "{to}");
        }
    }

    #[test]
    fn deciding_headers_come_once_and_uploads_say_their_length() {
        assert!(put(SIGNED, &[("content-length", "4")]).is_err());
        assert!(put(SIGNED, &[("content-type", "a/b"), ("content-type", "c/d")]).is_err());
        let (parts, ()) = http::Request::put(format!("/menus/a?{SIGNED}")).body(()).unwrap().into_parts();
        let refusal = check(&parts, NOW.parse().unwrap(), 1).unwrap_err();
        assert_eq!(refusal.status, StatusCode::LENGTH_REQUIRED);
        let large = (3u64 << 30).to_string();
        let (mut parts, ()) = http::Request::put(format!("/menus/a?{SIGNED}")).body(()).unwrap().into_parts();
        parts.headers.insert("content-length", large.parse().unwrap());
        assert_eq!(check(&parts, NOW.parse().unwrap(), 1 << 30).unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
