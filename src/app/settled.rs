//! Tells event sources when an object's inspection has ended, so that they can let go of its message.
//!
//! A hint and nothing more: whoever waits also looks into the store now and then, since another node may have done the
//! work.

use tokio::sync::broadcast;

use crate::domain::ids::ObjectId;

/// Announces objects whose inspection has ended on this node.
#[derive(Clone)]
pub struct SettledHub(broadcast::Sender<ObjectId>);

impl Default for SettledHub {
    fn default() -> Self {
        Self(broadcast::Sender::new(1024))
    }
}

impl SettledHub {
    /// Says that this object has left inspection.
    pub fn announce(&self, object: ObjectId) {
        // Nobody may be listening, and that is fine.
        let _ = self.0.send(object);
    }

    /// A receiver of everything that is announced from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<ObjectId> {
        self.0.subscribe()
    }
}
