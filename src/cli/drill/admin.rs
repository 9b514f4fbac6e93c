//! What a drill asks the admin listener: which nodes and apps there are, a canary, its revocation.
//!
//! An operator's token goes over TLS or to this machine, nowhere else.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::cli::Failure;
use crate::cli::claim::is_safe;
use crate::domain::ids::AppName;

/// What canaries are called, in the audit trail and in the list of tokens.
const WORKFLOW: &str = "revocation-drill";
/// How long a canary lives at most, should the drill be killed before it has revoked it.
const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// The admin listener, as an operator sees it.
pub(super) struct Admin {
    url: Url,
    token: SecretString,
    http: Client,
}

/// A token that is made to be revoked.
pub(super) struct Canary {
    /// Its public half.
    pub(super) id: String,
    /// The whole of it.
    pub(super) token: SecretString,
}

/// What a canary is made for.
pub(super) struct DrillApp {
    name: String,
    environment: &'static str,
}

impl Admin {
    pub(super) fn new(url: &Url, token: SecretString, http: Client) -> Result<Self, Failure> {
        if !is_safe(url) {
            let what = "--admin: an operator's token goes over https, or to this machine; not to";
            return Err(Failure::Told(format!("{what} {url}")));
        }
        Ok(Self { url: url.clone(), token, http })
    }

    /// Where each node that runs answers alone. Where two say the same, at most one of them would be asked: no figure then.
    pub(super) async fn nodes(&self) -> Result<Vec<Url>, Failure> {
        let answer = self.ask(self.http.get(self.at("/admin/nodes")), "list the nodes").await?;
        let alive = answer["nodes"].as_array().into_iter().flatten().filter(|node| node["alive"] == true);
        let urls: Option<Vec<Url>> = alive.map(|node| node["url"].as_str()?.parse().ok()).collect();
        match urls {
            Some(urls) if !urls.is_empty() => match named_twice(&urls) {
                Some(url) => Err(Failure::Told(format!(
                    "two nodes say that they answer at {url}: set public.node_url on each to where it alone is reached (a \
                     node that was killed counts for 15 s more)"
                ))),
                None => Ok(urls),
            },
            Some(_) => Err(Failure::Told("no node says that it runs; is this the installation's database?".into())),
            None => Err(Failure::Told("the list of nodes holds an address that is none".into())),
        }
    }

    /// The app with this name, or the first that may be used; a test environment rather than the live one.
    pub(super) async fn app(&self, wanted: Option<&AppName>) -> Result<DrillApp, Failure> {
        let answer = self.ask(self.http.get(self.at("/admin/apps")), "list the apps").await?;
        let usable = answer["apps"].as_array().into_iter().flatten().filter_map(|app| {
            let name = app["app"].as_str().filter(|_| app["enabled"] == true)?;
            let has =
                |environment: &str| app["environments"].as_array().is_some_and(|all| all.contains(&environment.into()));
            let environment = ["test", "live"].into_iter().find(|environment| has(environment))?;
            Some(DrillApp { name: name.to_owned(), environment })
        });
        let mut wanted_ones = usable.filter(|app| wanted.is_none_or(|wanted| wanted.as_str() == app.name));
        wanted_ones.next().ok_or_else(|| match wanted {
            Some(name) => Failure::Told(format!("there is no app {name} that is switched on and has a target")),
            None => Failure::Told("there is no app that is switched on and has a target".into()),
        })
    }

    /// A canary: a token for nothing, which ends by itself.
    pub(super) async fn canary(&self, app: &DrillApp, now: Timestamp) -> Result<Canary, Failure> {
        let body = json!({
            "app": app.name,
            "workflow": WORKFLOW,
            "environment": app.environment,
            "scopes": [format!("storage:*:{}:list:prefix=/{WORKFLOW}/", app.name)],
            "expiresAt": now + LIFE,
        });
        let mut answer = self.ask(self.http.post(self.at("/admin/tokens")).json(&body), "make a canary token").await?;
        match (answer["tokenId"].as_str().map(str::to_owned), answer["token"].take()) {
            (Some(id), Value::String(token)) => Ok(Canary { id, token: token.into() }),
            _ => Err(Failure::Told("the answer to the canary holds no token".into())),
        }
    }

    /// Revokes it; returns when the answer is here.
    pub(super) async fn revoke(&self, canary: &Canary) -> Result<(), Failure> {
        let body = json!({ "kind": "token", "id": canary.id, "reason": "revocation drill", "block": false });
        let request = self.http.post(self.at("/admin/revocations")).json(&body);
        self.ask(request, "revoke the canary").await.map(drop)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url.as_str().trim_end_matches('/'))
    }

    async fn ask(&self, request: RequestBuilder, what: &str) -> Result<Value, Failure> {
        let told = |error: reqwest::Error| Failure::Told(format!("cannot {what}: {}", super::cause(error)));
        let answer = request.bearer_auth(self.token.expose_secret()).send().await.map_err(told)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(told)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let detail = body["detail"].as_str().unwrap_or_default();
        Err(Failure::Told(format!("cannot {what}: {} {detail}", status.as_u16())))
    }
}

fn named_twice(urls: &[Url]) -> Option<&Url> {
    let mut seen = HashSet::new();
    urls.iter().find(|url| !seen.insert(*url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_token_goes_over_tls_or_stays_on_the_machine() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let admin = |url: &str| Admin::new(&url.parse().unwrap(), "t".to_owned().into(), Client::new());
        for url in ["https://admin.example", "http://127.0.0.1:9090", "http://localhost:9090/", "http://[::1]:9090"] {
            assert!(admin(url).is_ok(), "{url}");
        }
        for url in ["http://admin.example", "http://10.0.0.5:9090", "http://localhost.example", "ftp://127.0.0.1/"] {
            assert!(admin(url).is_err(), "{url}");
        }
    }
}
