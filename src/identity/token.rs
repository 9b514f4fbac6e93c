//! Tokens: `vst_live_<id>_<secret><checksum>`.
//!
//! | part | length | what it is |
//! |---|---|---|
//! | `vst_live_`, `vst_test_`, `vst_admin_` | | what the token is for: a real workflow, a workflow that tries things out, an operator |
//! | id | 16 | public; appears in logs and in the audit trail |
//! | secret | 43 | base 62, 256 bits from the operating system's random source |
//! | checksum | 6 | CRC-32 (IEEE 802.3) of everything before it, base 62, most significant digit first |
//!
//! The checksum lets a leak scanner tell a token from a look-alike without asking anybody; it protects nothing. Only
//! the SHA-256 of the whole token is stored: the secret has full entropy, so a slow hash would only cost time.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::access_token;
use crate::clock::Clock;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{KeyId, TokenId};
use crate::domain::principal::{Environment, Operator, Principal};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revocation::RevocationTarget;
use crate::store::{TokenHolder, TokenRecord};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is a little more than 2^256.
const SECRET: usize = 43;
/// 62^6 is more than 2^32.
const CHECKSUM: usize = 6;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A workflow, in this environment.
    Workflow(Environment),
    /// An operator of the admin listener.
    Operator,
}

impl TokenKind {
    const ALL: [TokenKind; 3] =
        [TokenKind::Workflow(Environment::Live), TokenKind::Workflow(Environment::Test), TokenKind::Operator];

    /// What the token starts with.
    pub fn prefix(self) -> &'static str {
        match self {
            TokenKind::Workflow(Environment::Live) => "vst_live_",
            TokenKind::Workflow(Environment::Test) => "vst_test_",
            TokenKind::Operator => "vst_admin_",
        }
    }
}

/// A new token, to be shown once to whoever asked for it. Its `Debug` shows nothing of it.
#[derive(Debug)]
pub struct Token(SecretString);

impl Token {
    /// What leak scanners look for; a match whose checksum is right is a token. Regular expression without look-around,
    /// for RE2 and Hyperscan.
    pub const PATTERN: &'static str = "vst_(?:live|test|admin)_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}";

    /// A fresh token, its public id, and the digest to store.
    pub fn generate(kind: TokenKind, clock: &Clock) -> (Token, TokenId, Sha256Digest) {
        loop {
            let body =
                format!("{}{}_{}", kind.prefix(), random_text(clock, TokenId::LENGTH), random_text(clock, SECRET));
            let text = format!("{body}{}", checksum(&body));
            // Reads it back as a client's would be, so that the two never drift apart.
            if let Ok(PresentedToken { id, hash, .. }) = Token::parse(&text) {
                return (Token(text.into()), id, hash);
            }
        }
    }

    /// Reads a token that somebody presented: its form and its checksum, nothing else. Every character counts.
    ///
    /// # Errors
    /// [`TokenError`] where it cannot be a token of ours; no look-up is needed to refuse it.
    pub fn parse(text: &str) -> Result<PresentedToken, TokenError> {
        let (kind, rest) = TokenKind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))
            .ok_or(TokenError::Form)?;
        let (id, tail) = rest.split_once('_').ok_or(TokenError::Form)?;
        if tail.len() != SECRET + CHECKSUM || !tail.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(TokenError::Form);
        }
        let id = id.parse().map_err(|_| TokenError::Form)?;
        let (body, sum) = text.split_at(text.len() - CHECKSUM);
        if checksum(body) != sum {
            return Err(TokenError::Checksum);
        }
        Ok(PresentedToken { kind: Some(kind), id, hash: Sha256Digest::of(text.as_bytes()), key: None })
    }

    /// An id for a token of another form.
    pub fn fresh_id(clock: &Clock) -> TokenId {
        loop {
            if let Ok(id) = random_text(clock, TokenId::LENGTH).parse() {
                return id;
            }
        }
    }

    /// The token itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A well-formed token that nobody has checked yet. Holds the digest, not the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedToken {
    /// What it claims to be for; a signed one claims nothing.
    pub kind: Option<TokenKind>,
    /// The public half.
    pub id: TokenId,
    hash: Sha256Digest,
    /// The key that a signed one claims to be signed with.
    key: Option<KeyId>,
}

/// Whether this is the token with that id, by what it says of itself.
pub fn names_token(text: &str, id: &TokenId) -> bool {
    PresentedToken::parse(text).is_ok_and(|presented| presented.id == *id)
}

impl PresentedToken {
    /// A token of either form.
    ///
    /// # Errors
    /// As for [`Token::parse`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let Some(named) = access_token::name(text) else { return Token::parse(text) };
        Ok(Self { kind: None, id: named.id, hash: Sha256Digest::of(text.as_bytes()), key: Some(named.key) })
    }

    /// Whether this is the very token of the record, in constant time.
    pub(super) fn is_secret_of(&self, record: &TokenRecord) -> bool {
        self.hash.0.ct_eq(&record.hash.0).into()
    }
}

impl fmt::Debug for PresentedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedToken").field("kind", &self.kind).field("id", &self.id).finish_non_exhaustive()
    }
}

/// A string that is no token of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Another prefix, length or alphabet.
    #[error("a token starts with vst_live_, vst_test_ or vst_admin_ and has 75 or 76 characters")]
    Form,
    /// A character was changed or lost.
    #[error("the token's checksum does not fit; it was probably not copied as a whole")]
    Checksum,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A workflow's.
    Workflow(Principal),
    /// An operator's.
    Operator(Operator),
}

impl Identity {
    /// Whom the record stands for, without any check.
    pub(super) fn of(record: &TokenRecord) -> Self {
        match &record.holder {
            TokenHolder::Workflow { app, workflow, owner, environment, scopes, subject } => {
                Identity::Workflow(Principal {
                    token: record.id.clone(),
                    app: app.clone(),
                    workflow: workflow.clone(),
                    owner: owner.clone(),
                    environment: *environment,
                    scopes: scopes.clone().into(),
                    subject: subject.clone(),
                    possession: record.binding.map(|binding| binding.possession()),
                    sunset: None,
                })
            }
            TokenHolder::Operator { name, roles } => Identity::Operator(Operator {
                token: Some(record.id.clone()),
                name: name.clone(),
                targets: vec![RevocationTarget::Token(record.id.clone())],
                roles: roles.clone(),
            }),
        }
    }
}

/// Checks a presented token against its record: first the secret, in constant time, then revocation and expiry.
///
/// # Errors
/// A [`Refusal`] with `token_invalid` where the secret is another one, the same as for an unknown id; `token_revoked`
/// or `token_expired` only for whoever knows the secret.
pub fn verify(presented: &PresentedToken, record: &TokenRecord, now: Timestamp) -> Result<Identity, Refusal> {
    check(presented, record, now).map(|()| Identity::of(record))
}

/// [`verify`] without building the identity.
pub(super) fn check(presented: &PresentedToken, record: &TokenRecord, now: Timestamp) -> Result<(), Refusal> {
    let kind = match &record.holder {
        TokenHolder::Workflow { environment, .. } => TokenKind::Workflow(*environment),
        TokenHolder::Operator { .. } => TokenKind::Operator,
    };
    // A signed token has said its key, and nothing else; every other one has said its kind and has no key.
    let fits = match presented.kind {
        Some(own) => own == kind && record.key.is_none(),
        None => presented.key.is_some() && presented.key == record.key,
    };
    if !presented.is_secret_of(record) || presented.id != record.id || !fits {
        return Err(invalid());
    }
    if record.revoked_at.is_some() {
        return Err(refusal(Reason::TokenRevoked, "this token has been revoked"));
    }
    if record.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(refusal(Reason::TokenExpired, "this token has expired"));
    }
    Ok(())
}

/// The answer to an unknown id and to a wrong secret.
pub(super) fn invalid() -> Refusal {
    refusal(Reason::TokenInvalid, "this token is not valid")
}

/// A refusal that ends with what to do next.
pub(super) fn refusal(reason: Reason, what: impl fmt::Display) -> Refusal {
    Refusal::new(reason, format!("{what}; {}", reason.remedy()))
}

/// Uniform letters and digits from the operating system's random source. Bytes from 248 on are thrown away, since 248 is the last multiple of 62 below 256.
pub fn random_text(clock: &Clock, length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let random = clock.random::<64>();
        let digits =
            random.into_iter().filter(|byte| *byte < 248).map(|byte| char::from(BASE62[usize::from(byte % 62)]));
        text.extend(digits.take(length - text.len()));
    }
    text
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::admin::AdminRoles;

    const LIVE: TokenKind = TokenKind::Workflow(Environment::Live);

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn operator(id: TokenId, hash: Sha256Digest) -> TokenRecord {
        let holder = TokenHolder::Operator { name: "ana".into(), roles: AdminRoles::admin() };
        TokenRecord::new(id, hash, holder, now(), None)
    }

    #[test]
    fn a_fresh_token_reads_back_and_fits_the_published_form() {
        for kind in TokenKind::ALL {
            let (token, id, hash) = Token::generate(kind, &Clock::system());
            let presented = Token::parse(token.expose()).unwrap();
            assert_eq!((presented.kind, &presented.id, presented.hash), (Some(kind), &id, hash));
            assert_eq!(token.expose().len(), kind.prefix().len() + 16 + 1 + 43 + 6);
            assert_eq!(hash, Sha256Digest::of(token.expose().as_bytes()));
        }
    }

    #[test]
    fn the_checksum_is_the_common_crc32_in_base_62() {
        // The check value of CRC-32/ISO-HDLC is cbf43926, which is 3421780262.
        assert_eq!(checksum("123456789"), "3jZRME");
        assert_eq!(checksum(""), "000000");
    }

    #[test]
    fn every_changed_character_is_noticed_offline() {
        let (token, ..) = Token::generate(LIVE, &Clock::system());
        for at in 0..token.expose().len() {
            let mut text = token.expose().as_bytes().to_vec();
            text[at] = if text[at] == b'x' { b'y' } else { b'x' };
            assert!(Token::parse(std::str::from_utf8(&text).unwrap()).is_err(), "position {at}");
        }
        let text = token.expose();
        for other in [&text[1..], &text[..text.len() - 1], &format!("{text}0"), &format!(" {text}"), "", "vst_live_"] {
            assert!(Token::parse(other).is_err());
        }
        assert_eq!(Token::parse(&text.to_uppercase()), Err(TokenError::Form));
        assert!(Token::parse(&format!("vst_live_{}", "é".repeat(40))).is_err());
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let (token, id, _) = Token::generate(LIVE, &Clock::system());
        let secret = &token.expose()[26..];
        let shown = format!("{token:?} {:?}", Token::parse(token.expose()).unwrap());
        assert!(!shown.contains(secret) && !shown.contains(&secret[..8]) && shown.contains(id.as_str()), "{shown}");
    }

    #[test]
    fn characters_are_uniform() {
        let text = random_text(&Clock::system(), 62_000);
        for digit in BASE62 {
            let count = text.bytes().filter(|b| b == digit).count();
            // 1,000 expected; more than nine standard deviations off is no accident.
            assert!((700..1300).contains(&count), "{}: {count}", char::from(*digit));
        }
    }

    #[test]
    fn a_wrong_secret_is_told_nothing_about_the_token() {
        let (token, id, hash) = Token::generate(TokenKind::Operator, &Clock::system());
        let (other, ..) = Token::generate(TokenKind::Operator, &Clock::system());
        let mut record = operator(id.clone(), hash);
        record.revoked_at = Some(now());
        let mut forged = Token::parse(other.expose()).unwrap();
        forged.id = id;
        assert_eq!(verify(&forged, &record, now()).unwrap_err(), invalid());
        let presented = Token::parse(token.expose()).unwrap();
        assert_eq!(verify(&presented, &record, now()).unwrap_err().reason, Reason::TokenRevoked);
    }

    #[test]
    fn a_token_works_until_it_expires_and_only_for_its_kind() {
        let (token, id, hash) = Token::generate(TokenKind::Operator, &Clock::system());
        let presented = Token::parse(token.expose()).unwrap();
        let mut record = operator(id, hash);
        let name = |identity| matches!(identity, Identity::Operator(Operator { name, .. }) if name == "ana");
        assert!(name(verify(&presented, &record, now()).unwrap()));
        record.expires_at = Some(now());
        assert_eq!(verify(&presented, &record, now()).unwrap_err().reason, Reason::TokenExpired);
        record.expires_at = Some(now() + jiff::SignedDuration::from_micros(1));
        assert!(verify(&presented, &record, now()).is_ok());
        record.holder = TokenHolder::Workflow {
            app: "where2eat".parse().unwrap(),
            workflow: "nightly".parse().unwrap(),
            owner: "marketing".parse().unwrap(),
            environment: Environment::Live,
            scopes: Vec::new(),
            subject: None,
        };
        assert_eq!(verify(&presented, &record, now()).unwrap_err().reason, Reason::TokenInvalid);
    }
}
