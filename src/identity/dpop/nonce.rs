//! Nonces for proofs (RFC 9449 sections 8 and 9): the time at which one was made, with a MAC over it.
//!
//! Nobody remembers a nonce: each node makes them with the newest key that all nodes share, and takes those of every key
//! that is still accepted. A nonce says only that its proof was signed lately; that a proof is used once is `jti`'s part.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

/// What is signed besides the time, so that the key's other uses, if it ever had any, make no nonces.
const PURPOSE: &[u8] = b"vestibule dpop nonce v1\0";
/// Bytes of the time, in seconds, and of the MAC.
const TIME: usize = 8;
const TAG: usize = 16;
/// How far the clock of the node that made it may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_secs(30);

/// How a nonce stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Good, and will be for a while.
    Fresh,
    /// Good, but a new one should be used soon.
    Ageing,
    /// Not made by any of these keys, or too old.
    Unusable,
}

/// A nonce, made now.
pub(super) fn make(key: &[u8], now: Timestamp) -> String {
    let time = now.as_second().to_be_bytes();
    let mut nonce = [0; TIME + TAG];
    nonce[..TIME].copy_from_slice(&time);
    nonce[TIME..].copy_from_slice(&tag(key, &time));
    BASE64_URL_SAFE_NO_PAD.encode(nonce)
}

/// How this nonce stands; `life` is how long one is good.
pub(super) fn look<'k>(
    keys: impl IntoIterator<Item = &'k [u8]>,
    nonce: &str,
    now: Timestamp,
    life: Duration,
) -> Standing {
    let mut bytes = [0; TIME + TAG];
    // Room for exactly one: anything longer is an error, anything shorter is none.
    if BASE64_URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(TIME + TAG) {
        return Standing::Unusable;
    }
    let (time, own) = bytes.split_at(TIME);
    let known = keys.into_iter().any(|key| subtle::ConstantTimeEq::ct_eq(own, &tag(key, time)[..]).into());
    let Some(made) = time.try_into().ok().map(i64::from_be_bytes).and_then(|made| Timestamp::from_second(made).ok())
    else {
        return Standing::Unusable;
    };
    let age = now.duration_since(made);
    let life = SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX);
    match age {
        _ if !known || age > life || age < -AHEAD => Standing::Unusable,
        _ if age > life / 2 => Standing::Ageing,
        _ => Standing::Fresh,
    }
}

fn tag(key: &[u8], time: &[u8]) -> [u8; TAG] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(PURPOSE);
    context.update(time);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&context.sign().as_ref()[..TAG]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(300);
    const OLD: &[u8] = b"the key of last month, 32 bytes!";
    const NEW: &[u8] = b"the key of this month, 32 bytes!";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_nonce_ages_and_ends() {
        let nonce = make(NEW, at(0));
        let standing = |second| look([NEW], &nonce, at(second), LIFE);
        assert_eq!([0, 150, -30].map(standing), [Standing::Fresh; 3]);
        assert_eq!([151, 300].map(standing), [Standing::Ageing; 2]);
        assert_eq!([301, 86_400, -31].map(standing), [Standing::Unusable; 3]);
    }

    #[test]
    fn every_accepted_key_is_tried_and_no_other() {
        let nonce = make(OLD, at(0));
        assert_eq!(look([NEW, OLD], &nonce, at(0), LIFE), Standing::Fresh);
        assert_eq!(look([NEW], &nonce, at(0), LIFE), Standing::Unusable);
        assert_eq!(look([], &nonce, at(0), LIFE), Standing::Unusable);
    }

    #[test]
    fn a_nonce_cannot_be_made_younger_or_guessed() {
        let nonce = make(NEW, at(0));
        for place in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(look([NEW], &forged, at(0), LIFE), Standing::Unusable, "{forged}");
        }
        for text in ["", "A", &nonce[1..], &format!("{nonce}A"), &format!("{nonce}AAAA"), &format!("{nonce}="), "ä"] {
            assert_eq!(look([NEW], text, at(0), LIFE), Standing::Unusable, "{text}");
        }
    }
}
