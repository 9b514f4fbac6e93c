//! All trusted issuers, and the one way to check what they sign.

use std::collections::HashMap;
use std::sync::Arc;

use super::assertion::{Assertion, AssertionError, Flaw, Use};
use super::compact::Compact;
use super::config::{IssuerConfig, SigningAlgorithm};
use super::source::KeySource;
use super::{fetch, rules};
use crate::clock::Clock;
use crate::domain::ids::IssuerName;

/// The trusted issuers of a process, with their keys.
pub struct Issuers {
    /// By `iss`.
    issuers: HashMap<String, Issuer>,
    clock: Clock,
}

pub(super) struct Issuer {
    pub(super) config: IssuerConfig,
    pub(super) keys: Arc<KeySource>,
}

impl Issuers {
    /// These issuers; nothing is read from them yet.
    ///
    /// # Errors
    /// Where there is no TLS provider, or no root certificate.
    pub fn new(configs: &[IssuerConfig], clock: Clock) -> Result<Self, reqwest::Error> {
        if configs.is_empty() {
            // Without a client: a machine without any root certificates needs none.
            return Ok(Self { issuers: HashMap::new(), clock });
        }
        let http = fetch::client()?;
        let issuer = |config: &IssuerConfig| Issuer {
            keys: Arc::new(KeySource::new(config, http.clone(), clock.clone())),
            config: config.clone(),
        };
        let issuers = configs.iter().map(|config| (config.issuer.clone(), issuer(config))).collect();
        Ok(Self { issuers, clock })
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Whether anybody's operators log in.
    pub fn have_operators(&self) -> bool {
        self.issuers.values().any(|issuer| issuer.config.operators.is_some())
    }

    /// What the issuers are called here, in order.
    pub fn names(&self) -> Vec<&IssuerName> {
        let mut names: Vec<&IssuerName> = self.issuers.values().map(|issuer| &issuer.config.name).collect();
        names.sort();
        names
    }

    /// Whether each of them answered when it was asked last, by name. Asks nobody.
    pub fn answers(&self) -> Vec<(&IssuerName, Result<(), String>)> {
        let mut answers: Vec<_> = self.all().map(|issuer| (&issuer.config.name, issuer.keys.answers())).collect();
        answers.sort_by_key(|(name, _)| *name);
        answers
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Issuer> {
        self.issuers.values()
    }

    /// Reads everybody's keys once, so that the first person who comes need not wait for them. Failures are logged.
    pub async fn warm_up(&self) {
        futures::future::join_all(self.issuers.values().map(|issuer| issuer.keys.current())).await;
    }

    /// Checks a token of one of the issuers.
    ///
    /// # Errors
    /// [`AssertionError::Refused`] with the first thing that is wrong; [`AssertionError::Unavailable`] where the issuer's
    /// keys are neither to be had nor known from not too long ago.
    pub async fn verify(&self, jwt: &str, wanted: Use) -> Result<Assertion, AssertionError> {
        let compact = Compact::parse(jwt)?;
        let issuer = compact.issuer().and_then(|iss| self.issuers.get(iss)).ok_or(Flaw::Issuer)?;
        let algorithm = rules::algorithm(&issuer.config, &compact)?;
        // Before the signature, so that what would be refused anyway makes nobody ask for keys.
        let assertion = rules::check(&issuer.config, &compact, wanted, self.clock.now())?;
        issuer.verify_signature(&compact, algorithm).await?;
        Ok(assertion)
    }
}

impl Issuer {
    async fn verify_signature(&self, compact: &Compact<'_>, algorithm: SigningAlgorithm) -> Result<(), AssertionError> {
        let held = self.keys.current().await.map_err(|away| AssertionError::Unavailable {
            issuer: self.config.name.clone(),
            retry_after: away.retry_after,
        })?;
        match held.keys.verify(compact, algorithm) {
            // The issuer may have changed its keys since.
            Err(Flaw::Key) => match self.keys.newer(&held).await {
                Some(newer) => Ok(newer.keys.verify(compact, algorithm)?),
                None => Err(Flaw::Key.into()),
            },
            other => Ok(other?),
        }
    }
}
