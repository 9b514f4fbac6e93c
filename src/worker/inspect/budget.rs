//! How much an archive may unpack to: bytes in all, and bytes for each packed byte.
//!
//! One budget serves an archive with everything that is packed inside it, so that nesting wins nothing.

use crate::domain::content::ContentRules;

/// Unpacked bytes to which the ratio does not apply: a small text may well pack a thousand to one.
const SMALL: u64 = 1 << 20;

/// A number of bytes that is used up.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    spent: u64,
    max: u64,
    by_ratio: u64,
    max_ratio: u64,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exceeded;

impl Budget {
    pub(super) fn new(max: u64, max_ratio: u64, packed: u64) -> Self {
        Self { spent: 0, max, by_ratio: packed.saturating_mul(max_ratio).max(SMALL), max_ratio }
    }

    pub(super) fn of(rules: &ContentRules, packed: u64) -> Self {
        Self::new(rules.max_unpacked_bytes, rules.max_ratio, packed)
    }

    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > self.max.min(self.by_ratio) { Err(Exceeded) } else { Ok(()) }
    }

    /// Which limit was met, for the person who sent the archive.
    pub(super) fn complaint(&self) -> String {
        if self.max <= self.by_ratio {
            format!("The archive unpacks to more than {} bytes, which is the limit.", self.max)
        } else {
            format!("The archive unpacks to more than {} times its size, which is the limit.", self.max_ratio)
        }
    }
}
