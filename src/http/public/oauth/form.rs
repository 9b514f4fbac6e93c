//! Form-encoded bodies (`application/x-www-form-urlencoded`), as OAuth has them: a parameter without a value is as good as
//! absent, and one that is there twice refuses the request (RFC 6749 section 3.2), except where a standard allows several.

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;

use crate::domain::refusal::{Reason, Refusal};

/// The content type of such a body.
const FORM: &str = "application/x-www-form-urlencoded";

/// The body of requests about one token (RFC 7009 section 2.1, RFC 7662 section 2.1).
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes the form")]
pub(in crate::http) struct OneToken {
    /// The token.
    token: String,
    /// What it may be; nothing is made of it.
    token_type_hint: Option<String>,
}

/// A form's parameters, in order.
pub(super) struct Form(Vec<(String, String)>);

/// Whether the body is a form.
pub(super) fn is_form(request: &HttpRequest) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM)
}

impl Form {
    /// Reads a body.
    pub(super) fn read(request: &HttpRequest, body: &[u8]) -> Result<Self, Refusal> {
        if !is_form(request) {
            let detail = format!("Send the body form-encoded, with the header Content-Type: {FORM}.");
            return Err(Refusal::new(Reason::UnsupportedMediaType, detail).allowed([FORM]));
        }
        let pairs = url::form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty());
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()))
    }

    /// A parameter that may be there once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Refusal::new(Reason::InvalidField, format!("{name}: is there twice; send it once."))),
        }
    }

    /// A parameter that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.one(name)?.ok_or_else(|| Refusal::new(Reason::InvalidField, format!("{name}: is missing.")))
    }

    /// A parameter that may be there any number of times.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect()
    }
}

/// The parameter `token` of a request about one.
pub(super) fn one_token(request: &HttpRequest, body: Result<Vec<u8>, Refusal>) -> Result<String, Refusal> {
    Form::read(request, &body?)?.required("token").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(kind: &'static str, body: &str) -> Result<Form, Reason> {
        let request = TestRequest::default().insert_header((CONTENT_TYPE, kind)).to_http_request();
        Form::read(&request, body.as_bytes()).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn parameters_are_read_once_and_without_a_value_not_at_all() {
        let form = read("Application/x-www-form-urlencoded; charset=utf-8", "a=1&b=&c=x+y%2F&d=1&d=2&b=3").unwrap();
        assert_eq!(form.one("a"), Ok(Some("1")));
        assert_eq!(form.one("b"), Ok(Some("3")));
        assert_eq!(form.one("c"), Ok(Some("x y/")));
        assert_eq!(form.one("e"), Ok(None));
        assert_eq!(form.one("d").unwrap_err().reason, Reason::InvalidField);
        assert_eq!(form.all("d"), ["1", "2"]);
        assert_eq!(form.required("e").unwrap_err().detail, "e: is missing.");
    }

    #[test]
    fn another_content_type_is_no_form() {
        for kind in ["application/json", "text/plain", "", "application/x-www-form-urlencodedx"] {
            assert_eq!(read(kind, "a=1").err(), Some(Reason::UnsupportedMediaType), "{kind}");
        }
    }
}
