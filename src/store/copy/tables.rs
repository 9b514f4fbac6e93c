//! What a copy moves: every table that holds state, with the type of each column.
//!
//! Counters that follow from other tables (`state_counts`) are made anew; proofs and nodes are of the moment. Numbers of the audit trail and of dead letters are
//! given anew, in the order of the old ones.

/// How a column is kept on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text on both sides.
    Text,
    /// A number on both sides.
    Int,
    /// Bytes on both sides.
    Bytes,
    /// Text with this prefix in SQLite, a UUID in PostgreSQL.
    Id(&'static str),
    /// Sixteen bytes in SQLite, a UUID in PostgreSQL.
    Uuid,
}

/// A table.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    /// The rows have numbers, by which they are ordered: `seq`, made from the time in the column with this index.
    pub(super) numbered: Option<usize>,
}

use Kind::{Bytes, Id, Int, Text, Uuid};

/// The columns of what somebody uses.
const fn usage_of(holder: &'static str) -> [(&'static str, Kind); 12] {
    [
        (holder, Text),
        ("bytes", Int),
        ("objects", Int),
        ("uploads_window", Int),
        ("uploads", Int),
        ("uploads_before", Int),
        ("day_window", Int),
        ("day_bytes", Int),
        ("day_bytes_before", Int),
        ("download_window", Int),
        ("download_bytes", Int),
        ("download_bytes_before", Int),
    ]
}

const APP_USAGE: [(&str, Kind); 12] = usage_of("app");
const OWNER_USAGE: [(&str, Kind); 12] = usage_of("owner");

/// Every table that is copied.
pub(super) const TABLES: [Table; 14] = [
    Table {
        name: "tokens",
        columns: &[
            ("id", Text),
            ("hash", Bytes),
            ("holder", Text),
            ("name", Text),
            ("app", Text),
            ("owner", Text),
            ("environment", Text),
            ("scopes", Text),
            ("created_at", Int),
            ("expires_at", Int),
            ("revoked_at", Int),
            ("subject", Text),
            ("roles", Text),
            ("origin", Text),
            ("issuer", Text),
            ("parent", Text),
            ("binding", Text),
            ("key_id", Text),
            ("last_used_at", Int),
            ("successor", Text),
            ("request_id", Text),
            ("user_id", Text),
            ("device", Text),
        ],
        numbered: None,
    },
    Table {
        name: "revocations",
        columns: &[
            ("id", Text),
            ("target", Text),
            ("at", Int),
            ("revoked_by", Text),
            ("reason", Text),
            ("blocks", Int),
            ("lifted_at", Int),
            ("lifted_by", Text),
            ("contain", Int),
            ("contained_at", Int),
            ("killed", Int),
        ],
        numbered: None,
    },
    Table {
        name: "objects",
        columns: &[
            ("id", Id("obj_")),
            ("grant_id", Id("grt_")),
            ("app", Text),
            ("workflow", Text),
            ("token_id", Text),
            ("owner", Text),
            ("environment", Text),
            ("user_id", Text),
            ("target", Text),
            ("staging_path", Text),
            ("served_path", Text),
            ("filename", Text),
            ("original_filename", Text),
            ("content_type", Text),
            ("size", Int),
            ("sha256", Bytes),
            ("method", Text),
            ("classification", Text),
            ("lawful_basis", Text),
            ("residency", Text),
            ("metadata", Text),
            ("created_at", Int),
            ("upload_expires_at", Int),
            ("updated_at", Int),
            ("revision", Int),
            ("state", Text),
            ("life", Text),
            ("held_bytes", Int),
            ("settled_size", Int),
        ],
        numbered: None,
    },
    Table { name: "app_usage", columns: &APP_USAGE, numbered: None },
    Table { name: "owner_usage", columns: &OWNER_USAGE, numbered: None },
    Table {
        name: "idempotency",
        columns: &[
            ("app", Text),
            ("workflow", Text),
            ("environment", Text),
            ("key", Text),
            ("body", Bytes),
            ("object_id", Id("obj_")),
            ("created_at", Int),
        ],
        numbered: None,
    },
    Table {
        name: "jobs",
        columns: &[
            ("object_id", Id("obj_")),
            ("kind", Text),
            ("queued_at", Int),
            ("ready_at", Int),
            ("attempts", Int),
            ("lease", Uuid),
            ("last_error", Text),
        ],
        numbered: None,
    },
    Table {
        name: "links",
        columns: &[
            ("hash", Bytes),
            ("object_id", Id("obj_")),
            ("grant_id", Id("grt_")),
            ("token_id", Text),
            ("disposition", Text),
            ("expires_at", Int),
            ("used_at", Int),
            ("lawful_basis", Text),
        ],
        numbered: None,
    },
    Table {
        name: "audit",
        columns: &[("time", Int), ("app", Text), ("token_id", Text), ("object_id", Id("obj_")), ("entry", Text)],
        numbered: Some(0),
    },
    Table {
        name: "dead_letters",
        columns: &[("source", Text), ("at", Int), ("reason", Text), ("body", Text)],
        numbered: Some(1),
    },
    Table { name: "settings", columns: &[("name", Text), ("value", Bytes)], numbered: None },
    Table {
        name: "gateway_keys",
        columns: &[
            ("purpose", Text),
            ("number", Int),
            ("id", Text),
            ("secret", Bytes),
            ("created_at", Int),
            ("accepted_until", Int),
        ],
        numbered: None,
    },
    Table {
        name: "access_requests",
        columns: &[
            ("id", Text),
            ("asked", Text),
            ("requested_by", Text),
            ("reason", Text),
            ("created_at", Int),
            ("life", Text),
            ("app", Text),
            ("state", Text),
            ("claim", Bytes),
            ("claim_ends_at", Int),
        ],
        numbered: None,
    },
    Table {
        name: "release_approvals",
        columns: &[
            ("object_id", Id("obj_")),
            ("revision", Int),
            ("by", Text),
            ("targets", Text),
            ("reason", Text),
            ("at", Int),
        ],
        numbered: None,
    },
];

/// A value on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A digest of rows that does not depend on their order, unless each says its place: the sum of their SHA-256s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    sum: [u64; 4],
}

impl Digest {
    /// Adds a row at this place; 0 where the order says nothing.
    pub(super) fn add(&mut self, place: u64, row: &[Cell]) {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        hash.update(place.to_le_bytes());
        for cell in row {
            let (kind, bytes): (u8, &[u8]) = match cell {
                Cell::Null => (0, &[]),
                Cell::Int(number) => (1, &number.to_le_bytes()[..]),
                Cell::Text(text) => (2, text.as_bytes()),
                Cell::Bytes(bytes) => (3, bytes),
            };
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        for (sum, part) in self.sum.iter_mut().zip(hash.finalize().chunks_exact(8)) {
            *sum = sum.wrapping_add(u64::from_le_bytes(part.try_into().unwrap_or_default()));
        }
        self.rows += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[(u64, &[Cell])]) -> Digest {
        let mut digest = Digest::default();
        rows.iter().for_each(|(place, row)| digest.add(*place, row));
        digest
    }

    #[test]
    fn a_digest_sees_every_value_and_its_place_where_there_is_one() {
        let (a, b) = ([Cell::Text("a".into()), Cell::Null], [Cell::Text("b".into()), Cell::Int(1)]);
        assert_eq!(digest(&[(0, &a), (0, &b)]), digest(&[(0, &b), (0, &a)]));
        assert_ne!(digest(&[(1, &a), (2, &b)]), digest(&[(1, &b), (2, &a)]));
        assert_ne!(digest(&[(0, &a)]), digest(&[(0, &[Cell::Text("a".into()), Cell::Int(0)])]));
        assert_ne!(digest(&[(0, &a)]), digest(&[(0, &a), (0, &a)]));
    }
}
