//! The one script: its keys, its arguments and its answer.
//!
//! Keys carry the names of app, workflow and owner and a digest of the request's body, never a token. What stands between
//! braces decides the slot in a cluster: all keys of one app lie together, those of an owner apart.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::Cmd;

use crate::domain::limits::LimitScope;
use crate::limits::Ask;
use crate::limits::standing::Used;

const SCRIPT: &str = include_str!("take.lua");

/// What Redis knows the script by.
static DIGEST: LazyLock<String> = LazyLock::new(|| hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes())));

/// Whether the script counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Checks and counts.
    Take,
    /// Only looks.
    Look,
}

/// How to name the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Short, for a server that has it.
    Digest,
    /// Whole, for a server that has lost it; it keeps it from then on.
    Text,
}

/// The call for a request.
pub(super) fn call(prefix: &str, ask: &Ask<'_>, mode: Mode, by: By) -> Cmd {
    let mut command = match by {
        By::Digest => redis::cmd("EVALSHA"),
        By::Text => redis::cmd("EVAL"),
    };
    command.arg(match by {
        By::Digest => DIGEST.as_str(),
        By::Text => SCRIPT,
    });
    let same = ask.same.map(|same| format!("{prefix}:{{{}}}:{}:same:{:032x}", ask.app, ask.workflow, same.0));
    command.arg(scopes(ask).count() + usize::from(same.is_some()));
    for scope in scopes(ask) {
        command.arg(key(prefix, ask, scope));
    }
    if let Some(same) = &same {
        command.arg(same);
    }
    command.arg(u8::from(mode == Mode::Take));
    command.arg(if same.is_some() { ask.limits.same_request() } else { 0 });
    for scope in scopes(ask) {
        for limit in ask.limits.of(scope).0 {
            command.arg(limit.unwrap_or(0));
        }
    }
    command
}

/// The scopes that have limits.
fn scopes<'a>(ask: &'a Ask<'_>) -> impl Iterator<Item = LimitScope> + 'a {
    LimitScope::ALL.into_iter().filter(|scope| {
        let limited = *scope == LimitScope::Workflow || !ask.limits.of(*scope).is_empty();
        limited && (*scope != LimitScope::Owner || ask.owner.is_some())
    })
}

fn key(prefix: &str, ask: &Ask<'_>, scope: LimitScope) -> String {
    match scope {
        LimitScope::Workflow => format!("{prefix}:{{{}}}:{}", ask.app, ask.workflow),
        LimitScope::App => format!("{prefix}:{{{}}}", ask.app),
        // An app and an owner may have the same name.
        LimitScope::Owner => format!("{prefix}:owner:{{{}}}", ask.owner.map_or("", |owner| owner.as_str())),
    }
}

/// What the script found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Whether the request was counted.
    pub(super) counted: bool,
    /// The windows as they stood before it.
    pub(super) windows: [[Used; 3]; 3],
    /// The same request in this minute.
    pub(super) same: Option<Used>,
}

/// Reads the answer; `None` where it is not one of this script.
pub(super) fn read(ask: &Ask<'_>, answer: &[i64]) -> Option<Found> {
    let (counted, rest) = answer.split_first()?;
    let mut pairs = rest.chunks_exact(2).map(|pair| Used {
        ends_in: u32::try_from(pair[0]).unwrap_or(1).max(1),
        used: u32::try_from(pair[1]).unwrap_or(u32::MAX),
    });
    let mut windows = [[Used::default(); 3]; 3];
    for scope in scopes(ask) {
        for window in &mut windows[scope as usize] {
            *window = pairs.next()?;
        }
    }
    let same = match ask.same {
        Some(_) => Some(pairs.next()?),
        None => None,
    };
    pairs.next().is_none().then_some(Found { counted: *counted == 1, windows, same })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::limits::{RateLimits, Rates};
    use crate::limits::SameRequest;

    #[test]
    fn keys_name_who_is_counted_and_lie_together_for_one_app() {
        let (app, workflow, owner) =
            ("where2eat".parse().unwrap(), "nightly".parse().unwrap(), "marketing".parse().unwrap());
        let limits = Arc::new(RateLimits::new(Rates::USUAL, Rates::default(), Rates([None, None, Some(7)]), 30));
        let ask =
            Ask { app: &app, workflow: &workflow, owner: Some(&owner), limits: &limits, same: Some(SameRequest(10)) };
        let packed = String::from_utf8(call("v", &ask, Mode::Take, By::Digest).get_packed_command()).unwrap();
        let words: Vec<&str> = packed.split("\r\n").filter(|word| !word.starts_with(['$', '*'])).collect();
        assert_eq!(words[0], "EVALSHA");
        assert_eq!(
            words[2..6],
            [
                "3",
                "v:{where2eat}:nightly",
                "v:owner:{marketing}",
                "v:{where2eat}:nightly:same:0000000000000000000000000000000a"
            ]
        );
        assert_eq!(words[6..14], ["1", "30", "5", "1000", "5000", "0", "0", "7"]);
    }

    #[test]
    fn an_answer_of_another_shape_is_no_answer() {
        let (app, workflow) = ("where2eat".parse().unwrap(), "nightly".parse().unwrap());
        let ask = Ask { app: &app, workflow: &workflow, owner: None, limits: &Arc::default(), same: None };
        let found = read(&ask, &[1, 1, 4, 900, 10, 80_000, 10]).unwrap();
        assert!(found.counted && found.same.is_none());
        assert_eq!(found.windows[0][1], Used { used: 10, ends_in: 900 });
        for wrong in [&[][..], &[1], &[1, 1, 4, 900, 10], &[1, 1, 4, 900, 10, 80_000, 10, 60, 1]] {
            assert_eq!(read(&ask, wrong), None, "{wrong:?}");
        }
    }
}
