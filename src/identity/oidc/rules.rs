//! What a token of an issuer must say, before its signature is worth checking.
//!
//! id_tokens follow OpenID Connect Core 3.1.3.7 (the nonce is the client's business), access tokens RFC 9068 section 4; times
//! are compared with the issuer's clock skew on either side. Everything is asked for; a claim of the wrong type is as bad as a
//! missing one.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::assertion::{Assertion, AssertionKind, Flaw, Use};
use super::compact::Compact;
use super::config::{IssuerConfig, OperatorsConfig, SigningAlgorithm};
use crate::domain::admin::{AdminRole, AdminRoles};

/// Longest text of a claim that is kept.
const LONGEST: usize = 255;
/// Most audiences of one token.
const MOST_AUDIENCES: usize = 100;

/// Claims of tokens that go by the general type `JWT` and are no id_tokens: access tokens of providers without `at+jwt`
/// (RFC 8693 section 4.2, and Microsoft's name for the same), logout tokens (OpenID Connect Back-Channel Logout 2.4) and
/// other security events (RFC 8417 section 2.2).
const OF_OTHERS: [&str; 3] = ["scope", "scp", "events"];

/// The algorithm that the token is signed with, where it is pinned for the issuer.
pub(super) fn algorithm(config: &IssuerConfig, compact: &Compact<'_>) -> Result<SigningAlgorithm, Flaw> {
    SigningAlgorithm::from_name(&compact.alg)
        .filter(|algorithm| config.algorithms.contains(algorithm))
        .ok_or(Flaw::Algorithm)
}

/// What the token asserts, where everything but its signature is right. The caller has found `config` by `iss`.
pub(super) fn check(
    config: &IssuerConfig,
    compact: &Compact<'_>,
    wanted: Use,
    now: Timestamp,
) -> Result<Assertion, Flaw> {
    let claims = &compact.claims;
    let kind = kind(compact.typ.as_deref())?;
    let said = match wanted {
        Use::Exchange(said) => said.unwrap_or(kind),
        Use::Operate => kind,
    };
    if said != kind || !config.tokens.contains(&kind) {
        return Err(Flaw::Kind(kind));
    }
    if kind == AssertionKind::IdToken && OF_OTHERS.iter().any(|name| claims.get(name).is_some()) {
        return Err(Flaw::Type);
    }
    let skew = SignedDuration::try_from(config.clock_skew).unwrap_or(SignedDuration::ZERO);
    let oldest = SignedDuration::try_from(config.max_age).unwrap_or(SignedDuration::ZERO);
    let expires_at = time(claims, "exp")?.ok_or(Flaw::Claim("exp"))?;
    let issued_at = time(claims, "iat")?.ok_or(Flaw::Claim("iat"))?;
    let not_before = time(claims, "nbf")?.unwrap_or(issued_at);
    // Differences of timestamps, since sums may leave their range.
    if now.duration_since(expires_at) >= skew {
        return Err(Flaw::Expired);
    }
    if issued_at.max(not_before).duration_since(now) > skew {
        return Err(Flaw::NotYet);
    }
    if now.duration_since(issued_at) > oldest.saturating_add(skew) {
        return Err(Flaw::TooOld);
    }
    let sub = text(claims, "sub")?.ok_or(Flaw::Claim("sub"))?;
    let audiences = audiences(claims)?;
    let (client, roles) = match wanted {
        Use::Exchange(_) => (for_exchange(config, kind, claims, &audiences)?, AdminRoles::default()),
        Use::Operate => {
            let operators = config.operators.as_ref().ok_or(Flaw::Audience)?;
            (for_operators(operators, kind, claims, &audiences)?, roles(operators, claims)?)
        }
    };
    if kind == AssertionKind::AccessToken && client.as_ref() == Some(&sub) {
        return Err(Flaw::NoPerson);
    }
    Ok(Assertion {
        issuer: config.name.clone(),
        subject: config.claims.subject(claims)?,
        sub,
        client,
        audiences,
        expires_at,
        issued_at,
        kind,
        environment: config.environment,
        cnf_jkt: confirmation(claims)?,
        roles,
    })
}

/// By its explicit type (RFC 9068 section 2.1, RFC 8725 section 3.11); id_tokens have none, or the general one.
fn kind(typ: Option<&str>) -> Result<AssertionKind, Flaw> {
    let typ = typ.map(str::to_ascii_lowercase);
    match typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ)) {
        None | Some("jwt") => Ok(AssertionKind::IdToken),
        Some("at+jwt") => Ok(AssertionKind::AccessToken),
        Some(_) => Err(Flaw::Type),
    }
}

/// A NumericDate (RFC 7519 section 2), to the second.
fn time(claims: &Value, name: &'static str) -> Result<Option<Timestamp>, Flaw> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_i64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| (0.0..1e12).contains(seconds))?;
        #[allow(clippy::cast_possible_truncation, reason = "bounded above; the fraction is to go")]
        Some(seconds as i64)
    });
    let time = whole.filter(|seconds| *seconds >= 0).and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(Some).ok_or(Flaw::Claim(name))
}

fn text(claims: &Value, name: &'static str) -> Result<Option<String>, Flaw> {
    let good = |text: &&str| (1..=LONGEST).contains(&text.len()) && !text.chars().any(char::is_control);
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().filter(good).map(|text| Some(text.to_owned())).ok_or(Flaw::Claim(name)),
    }
}

/// One text or a list of them (RFC 7519 section 4.1.3), never none.
fn audiences(claims: &Value) -> Result<Vec<String>, Flaw> {
    let one = |value: &Value| value.as_str().map(str::to_owned);
    let all: Option<Vec<String>> = match claims.get("aud") {
        Some(Value::Array(items)) => items.iter().map(one).collect(),
        Some(value) => one(value).map(|audience| vec![audience]),
        None => None,
    };
    all.filter(|all| (1..=MOST_AUDIENCES).contains(&all.len())).ok_or(Flaw::Claim("aud"))
}

/// The client that may have the token exchanged.
fn for_exchange(
    config: &IssuerConfig,
    kind: AssertionKind,
    claims: &Value,
    audiences: &[String],
) -> Result<Option<String>, Flaw> {
    match kind {
        AssertionKind::IdToken => {
            let trusted = |audience: &String| config.clients.contains(audience) || config.audiences.contains(audience);
            if !audiences.iter().any(|audience| config.clients.contains(audience)) || !audiences.iter().all(trusted) {
                return Err(Flaw::Audience);
            }
            authorized_party(claims, audiences, |party| config.clients.iter().any(|client| client == party))
        }
        AssertionKind::AccessToken => {
            let operators = config.operators.as_ref().is_some_and(|own| audiences.contains(&own.audience));
            if operators || !audiences.iter().any(|audience| config.audiences.contains(audience)) {
                return Err(Flaw::Audience);
            }
            let client = text(claims, "client_id")?.ok_or(Flaw::Claim("client_id"))?;
            if config.clients.contains(&client) { Ok(Some(client)) } else { Err(Flaw::Client) }
        }
    }
}

/// The client that an operator logged in with.
fn for_operators(
    operators: &OperatorsConfig,
    kind: AssertionKind,
    claims: &Value,
    audiences: &[String],
) -> Result<Option<String>, Flaw> {
    let own = |audience: &String| *audience == operators.audience;
    match kind {
        AssertionKind::IdToken if audiences.iter().all(own) => {
            authorized_party(claims, audiences, |party| party == operators.audience)
        }
        AssertionKind::AccessToken if audiences.iter().any(own) => {
            text(claims, "client_id")?.ok_or(Flaw::Claim("client_id")).map(Some)
        }
        _ => Err(Flaw::Audience),
    }
}

/// `azp`, which must be there where there are several audiences (OpenID Connect Core 3.1.3.7, rules 4 and 5); otherwise the
/// one audience.
fn authorized_party(
    claims: &Value,
    audiences: &[String],
    accepted: impl Fn(&str) -> bool,
) -> Result<Option<String>, Flaw> {
    let party = match (text(claims, "azp")?, audiences) {
        (Some(party), _) => party,
        (None, [only]) => only.clone(),
        (None, _) => return Err(Flaw::Claim("azp")),
    };
    if accepted(&party) { Ok(Some(party)) } else { Err(Flaw::Client) }
}

fn roles(operators: &OperatorsConfig, claims: &Value) -> Result<AdminRoles, Flaw> {
    let held = operators.claim.texts(claims, "claim of operators")?;
    let holds = |role: &AdminRole| operators.values(*role).iter().any(|value| held.contains(value));
    Ok(AdminRole::ALL.into_iter().filter(holds).collect())
}

/// `cnf` (RFC 7800): a DPoP key's thumbprint alone. Any other binding could not be checked, and must not be dropped.
fn confirmation(claims: &Value) -> Result<Option<String>, Flaw> {
    let Some(cnf) = claims.get("cnf") else { return Ok(None) };
    let members = cnf.as_object().filter(|members| members.len() == 1).ok_or(Flaw::Confirmation)?;
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let thumbprint = members.get("jkt").and_then(Value::as_str);
    let thumbprint = thumbprint.filter(|text| text.len() == 43 && text.bytes().all(base64url));
    thumbprint.map(|text| Some(text.to_owned())).ok_or(Flaw::Confirmation)
}
