//! `vestibule access claim https://…`: spends a claim link from any machine that reaches the gateway.
//!
//! Nothing of the gateway's configuration is needed, so that whoever runs a workflow takes its token himself. The token goes
//! where `--into` says; where that fails, it is given back (RFC 7009), for which the token itself is enough.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Host, Url};

use super::Failure;
use super::into::{Into, Parcel};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the gateway answers to a claim.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claimed {
    token: SecretString,
    token_id: String,
    app: String,
    workflow: String,
    owner: String,
    environment: String,
    scopes: Vec<String>,
    expires_at: Option<String>,
    replaces: Option<String>,
    replaced_until: Option<String>,
}

/// Why the gateway did not give a token.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

/// Whether the text is a link, and not its secret alone.
pub(super) fn is_link(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Whether a secret may go there: over TLS, or to this machine.
pub(super) fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_this_machine(url)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Spends the link: prints the token, once, or hands it over.
pub(super) async fn claim(link: &str, into: &Into) -> Result<(), Failure> {
    let told = |error: &dyn std::fmt::Display| Failure::Told(format!("the link: {error}"));
    let link: Url = link.parse().map_err(|error| told(&error))?;
    if !is_safe(&link) {
        return Err(told(&"a token comes over https, or from this machine"));
    }
    let http = Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build();
    let http = http.map_err(|error| told(&error))?;
    let answer = http.post(link.clone()).header("accept", "application/json").send().await;
    let claimed = read(answer.map_err(|error| told(&error.without_url()))?).await?;
    let give_back = async || {
        let mut at = link;
        if let Ok(mut path) = at.path_segments_mut() {
            path.pop().pop().push("revoke");
        }
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("token", claimed.token.expose_secret())
            .finish();
        let form = http.post(at).header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = form.send().await.map_err(|error| error.without_url().to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("HTTP {}", answer.status().as_u16())) }
    };
    let delivered = into.pass_on(&claimed.parcel(), give_back).await;
    if let (Some(old), Some(at)) = (&claimed.replaces, &claimed.replaced_until) {
        eprintln!("token {old} works until {at}");
    }
    delivered
}

async fn read(answer: Response) -> Result<Claimed, Failure> {
    let status = answer.status();
    let body = answer.bytes().await;
    let body = body.map_err(|error| Failure::Told(format!("the answer was cut off: {}", error.without_url())))?;
    if status == StatusCode::CREATED {
        return serde_json::from_slice(&body).map_err(|_| Failure::Told("the answer holds no token".into()));
    }
    let problem = serde_json::from_slice(&body).map(|Problem { code, detail }| format!("{code}: {detail}"));
    Err(Failure::Told(problem.unwrap_or_else(|_| format!("HTTP {} and no token", status.as_u16()))))
}

impl Claimed {
    fn parcel(&self) -> Parcel {
        let tags = [
            ("VESTIBULE_TOKEN_ID", Some(&self.token_id)),
            ("VESTIBULE_EXPIRES_AT", self.expires_at.as_ref()),
            ("VESTIBULE_APP", Some(&self.app)),
            ("VESTIBULE_WORKFLOW", Some(&self.workflow)),
            ("VESTIBULE_OWNER", Some(&self.owner)),
            ("VESTIBULE_ENVIRONMENT", Some(&self.environment)),
            ("VESTIBULE_SCOPES", Some(&self.scopes.join(" "))),
        ];
        let tags = tags.into_iter().filter_map(|(name, value)| Some((name, value?.clone()))).collect();
        Parcel { id: self.token_id.clone(), token: self.token.clone(), tags }
    }
}
