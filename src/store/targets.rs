//! Which rows a revocation concerns, as conditions that both databases understand.
//!
//! `?1` stands for the id of the target, `?2` for a workflow's app; PostgreSQL writes them `$1` and `$2`. Every condition
//! names both.

use crate::domain::revocation::RevocationTarget;

/// Ends a key that signs tokens at the time `?3`; `?2` is that purpose. Where it is the one in use, the next need for a key
/// makes another one.
pub(super) const RETIRE_KEY: &str = "UPDATE gateway_keys SET accepted_until = ?3
     WHERE id = ?1 AND purpose = ?2 AND (accepted_until IS NULL OR accepted_until > ?3)";

/// The rows of `tokens`.
fn tokens(target: &RevocationTarget) -> &'static str {
    match target {
        RevocationTarget::Token(_) => "id = ?1 AND CAST(?2 AS text) IS NULL",
        RevocationTarget::Workflow(..) => "holder = 'workflow' AND name = ?1 AND app = ?2",
        RevocationTarget::App(_) => "app = ?1 AND CAST(?2 AS text) IS NULL",
        RevocationTarget::User(_) => "user_id = ?1 AND CAST(?2 AS text) IS NULL",
        RevocationTarget::Device(_) => "device = ?1 AND CAST(?2 AS text) IS NULL",
        RevocationTarget::Owner(_) => "owner = ?1 AND CAST(?2 AS text) IS NULL",
        RevocationTarget::Key(_) => "key_id = ?1 AND CAST(?2 AS text) IS NULL",
    }
}

/// The ids of the tokens in force after the time `?4` that a target concerns, those derived from them included: what follows
/// `WITH RECURSIVE`. No child outlives its parent, so that those in force are reached through such alone; the dead ones, of
/// which there are hundreds to each, are not looked at. In parts that each have an
/// index: with an OR of them SQLite would read all of it.
pub(super) fn in_force(target: &RevocationTarget) -> String {
    format!(
        "living AS MATERIALIZED (
             SELECT id, parent, holder, name, app, owner, user_id, device, key_id FROM tokens
             WHERE origin IS NOT NULL AND revoked_at IS NULL AND expires_at > ?4
             UNION ALL
             SELECT id, parent, holder, name, app, owner, user_id, device, key_id FROM tokens
             WHERE origin IS NOT NULL AND revoked_at IS NULL AND expires_at IS NULL
             UNION ALL
             SELECT id, parent, holder, name, app, owner, user_id, device, key_id FROM tokens
             WHERE origin IS NULL AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?4)
         ),
         concerned (id) AS (
             SELECT id FROM living WHERE {}
             UNION SELECT living.id FROM concerned JOIN living ON living.parent = concerned.id
         )",
        tokens(target)
    )
}

/// Brings the ends of all tokens that were derived from the token `?1` down to the time `?2`; what is dead stays as it is.
pub(super) const END_DERIVED: &str = "WITH RECURSIVE derived (id) AS (
         SELECT id FROM tokens WHERE parent = ?1 AND (expires_at IS NULL OR expires_at > ?2)
         UNION SELECT tokens.id FROM derived JOIN tokens ON tokens.parent = derived.id
         WHERE tokens.expires_at IS NULL OR tokens.expires_at > ?2
     )
     UPDATE tokens SET expires_at = ?2 WHERE id IN (SELECT id FROM derived)";

/// The ids of all tokens that a target concerns, those derived from them included: what follows `WITH RECURSIVE`.
pub(super) fn concerned(target: &RevocationTarget) -> String {
    format!(
        "concerned (id) AS (
             SELECT id FROM tokens WHERE {}
             UNION SELECT tokens.id FROM concerned JOIN tokens ON tokens.parent = concerned.id
         )",
        tokens(target)
    )
}

/// The ids of the tokens that a revocation of the target at the time `?3` has ended, the newest first, `?4` at most.
pub(super) fn ended(target: &RevocationTarget) -> String {
    format!(
        "WITH RECURSIVE {} SELECT id FROM tokens WHERE revoked_at = ?3 AND id IN (SELECT id FROM concerned)
         ORDER BY created_at DESC, id LIMIT ?4",
        concerned(target)
    )
}

/// The rows of `objects` that were uploaded under a target, after the id `?3`.
pub(super) fn objects(target: &RevocationTarget) -> String {
    let of = match target {
        RevocationTarget::Workflow(..) => "workflow = ?1 AND app = ?2",
        RevocationTarget::App(_) => "app = ?1 AND CAST(?2 AS text) IS NULL",
        RevocationTarget::User(_) => "user_id = ?1 AND CAST(?2 AS text) IS NULL",
        RevocationTarget::Owner(_) => "owner = ?1 AND CAST(?2 AS text) IS NULL",
        RevocationTarget::Token(_) | RevocationTarget::Device(_) | RevocationTarget::Key(_) => {
            "token_id IN (SELECT id FROM concerned)"
        }
    };
    format!("{of} AND id > ?3")
}
