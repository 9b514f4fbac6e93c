//! How old what was read may be, and how long one waits for whoever reads the same.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

/// How long a token's record, that no token has changed, or a key is believed without asking the store again.
pub const MAX_AGE: Duration = Duration::from_millis(500);
/// How long a look-up waits for another one of the same before it goes by itself.
const PATIENCE: Duration = Duration::from_millis(50);

/// Waits for whoever reads the same. Whoever waits too long gets no turn and reads by himself: a store that hangs must not
/// hang its callers one after the other.
pub(super) async fn turn(gate: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    tokio::time::timeout(PATIENCE, gate.lock()).await.ok()
}
