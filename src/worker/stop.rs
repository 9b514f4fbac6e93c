//! Two words that end the work of a node: take nothing new, and let go of what is in hand.
//!
//! Between the two, what was begun may end by itself. What is let go is given back at once, not left to the end of its
//! lease: another node takes it as if it had never been touched.

use tokio_util::sync::CancellationToken;

/// The two words; clones hear both.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    nothing_new: CancellationToken,
    let_go: CancellationToken,
}

impl Stop {
    /// From now on nothing is claimed or received.
    pub fn take_nothing_new(&self) {
        self.nothing_new.cancel();
    }

    /// From now on what is in hand is given back; nothing new is taken either.
    pub fn let_go(&self) {
        self.nothing_new.cancel();
        self.let_go.cancel();
    }

    /// Cancelled by the first word.
    pub fn nothing_new(&self) -> &CancellationToken {
        &self.nothing_new
    }

    /// Cancelled by the second.
    pub fn letting_go(&self) -> &CancellationToken {
        &self.let_go
    }
}
