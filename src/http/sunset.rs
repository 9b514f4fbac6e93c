//! Whoever still uses a token that was rotated is told so with every answer.
//!
//! `Deprecation` (RFC 9745) is the moment of the rotation, as a date of structured fields (RFC 9651 section 3.3.7);
//! `Sunset` (RFC 8594) the moment from which the token stops working, as an HTTP date (RFC 9110 section 5.6.7).

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};

use crate::domain::principal::Sunset;

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// Counts a request with such a token, and leaves it for the answer.
pub(super) fn noted(request: &HttpRequest, sunset: Sunset) {
    metrics::counter!("vestibule_rotated_token_requests_total").increment(1);
    request.extensions_mut().insert(sunset);
}

/// Adds the headers.
pub(super) fn tell(sunset: Sunset, headers: &mut HeaderMap) {
    // Digits and a date are always a header's value.
    if let Ok(value) = HeaderValue::try_from(format!("@{}", sunset.since.as_second())) {
        headers.insert(DEPRECATION, value);
    }
    if let Ok(value) = HeaderValue::try_from(sunset.ends_at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()) {
        headers.insert(SUNSET, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_are_written_as_the_standards_say() {
        let time = |text: &str| text.parse().unwrap();
        let sunset = Sunset { since: time("2026-11-21T10:00:00Z"), ends_at: time("2026-12-01T09:08:07.5Z") };
        let mut headers = HeaderMap::new();
        tell(sunset, &mut headers);
        assert_eq!(headers.get("Deprecation").unwrap(), "@1795255200");
        assert_eq!(headers.get("Sunset").unwrap(), "Tue, 01 Dec 2026 09:08:07 GMT");
    }
}
