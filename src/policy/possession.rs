//! What apps and classes demand of a token: that it is bound to a key, and the request proves to hold it.
//!
//! Both may demand, and both demands are met or the request is refused. By the time that a policy is asked the proof was
//! checked: a bound token is never accepted without, so that what is looked at here is how the token is bound. Whoever
//! follows a one-time link is judged by the request that the link was made for.

use serde::Deserialize;
use toml::de::DeValue;

use crate::domain::principal::{Possession, Principal};
use crate::domain::refusal::{Reason, Refusal};

use super::mistake::one_of;
use super::reader::{Wrong, boolean, choice, read_text};
use super::{Classification, Manifest};

/// The key of manifests and classes.
pub(super) const KEY: &str = "proof_of_possession";

/// The proof that is demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PossessionDemand {
    /// A DPoP proof (RFC 9449).
    Dpop,
    /// A client certificate (RFC 8705).
    Mtls,
    /// One of the two.
    Any,
}

impl PossessionDemand {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            PossessionDemand::Dpop => "dpop",
            PossessionDemand::Mtls => "mtls",
            PossessionDemand::Any => "any",
        }
    }

    /// Whether this proof is enough.
    pub fn met_by(self, possession: Option<Possession>) -> bool {
        match self {
            PossessionDemand::Dpop => possession == Some(Possession::Dpop),
            PossessionDemand::Mtls => possession == Some(Possession::MutualTls),
            PossessionDemand::Any => possession.is_some(),
        }
    }

    /// What such a token is bound to, in words.
    fn words(self) -> &'static str {
        match self {
            PossessionDemand::Dpop => "a key that is proven by DPoP",
            PossessionDemand::Mtls => "a client certificate",
            PossessionDemand::Any => "a key that is proven by DPoP, or to a client certificate",
        }
    }

    /// The proofs that would be enough.
    fn accepted(self) -> &'static [&'static str] {
        match self {
            PossessionDemand::Dpop => &["dpop"],
            PossessionDemand::Mtls => &["mtls"],
            PossessionDemand::Any => &["dpop", "mtls"],
        }
    }
}

/// Reads a demand.
pub(super) fn demand(value: &DeValue<'_>) -> Result<PossessionDemand, Wrong> {
    choice(&["dpop", "mtls", "any"])(value)
}

/// Reads what a case says was proven: a kind of proof, `true` for DPoP, `false` for none.
pub(super) fn proven(value: &DeValue<'_>) -> Result<Option<Possession>, Wrong> {
    if value.as_str().is_none() {
        return boolean(value).map(|proven| proven.then_some(Possession::Dpop));
    }
    read_text(value, "write dpop or mtls between quotation marks", |text| match text {
        "dpop" => Ok(Some(Possession::Dpop)),
        "mtls" => Ok(Some(Possession::MutualTls)),
        _ => Err(one_of("kinds of proof", text, &["dpop", "mtls"])),
    })
}

/// The app's demand is met.
pub(super) fn of_app(app: &Manifest, who: &Principal) -> Result<(), Refusal> {
    bound_as_demanded(app, who.possession)
}

/// The app's demand is met by a token that is bound so.
///
/// # Errors
/// [`Reason::ProofOfPossessionRequired`] with the proofs that would do.
pub fn bound_as_demanded(app: &Manifest, possession: Option<Possession>) -> Result<(), Refusal> {
    match app.proof_of_possession.filter(|demand| !demand.met_by(possession)) {
        None => Ok(()),
        Some(demand) => Err(refusal(demand, &format!("app '{}'", app.app), possession, app.rule(KEY))),
    }
}

/// The class's demand is met.
pub(super) fn of_class(class: &Classification, who: &Principal) -> Result<(), Refusal> {
    match class.proof_of_possession.filter(|demand| !demand.met_by(who.possession)) {
        None => Ok(()),
        Some(demand) => Err(refusal(demand, &format!("'{}' data", class.name), who.possession, class.lines.rule(KEY))),
    }
}

fn refusal(demand: PossessionDemand, what: &str, possession: Option<Possession>, rule: String) -> Refusal {
    let own = match possession {
        None => "this one is bound to nothing",
        Some(Possession::Dpop) => "this one is bound to a DPoP key",
        Some(Possession::MutualTls) => "this one is bound to a certificate",
    };
    let detail = format!(
        "{what} asks for a token that is bound to {}, and {own}; ask your platform team for such a token, see \
         docs/identity.md",
        demand.words()
    );
    Refusal::new(Reason::ProofOfPossessionRequired, detail).allowed(demand.accepted().iter().copied()).rule(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_is_met_by_the_proofs_that_it_names() {
        let proofs = [None, Some(Possession::Dpop), Some(Possession::MutualTls)];
        for (demand, met) in [
            (PossessionDemand::Dpop, [false, true, false]),
            (PossessionDemand::Mtls, [false, false, true]),
            (PossessionDemand::Any, [false, true, true]),
        ] {
            assert_eq!(proofs.map(|proof| demand.met_by(proof)), met, "{}", demand.as_str());
            let accepted: Vec<&str> =
                proofs.into_iter().flatten().filter(|own| demand.met_by(Some(*own))).map(Possession::as_str).collect();
            assert_eq!(accepted, demand.accepted());
        }
    }
}
