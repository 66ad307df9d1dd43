//! The open watches of one office process: who has to hear what, as soon as it is known.

use std::sync::Arc;
use tokio::sync::Notify;

/// The open watches; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watches {
    hint: Arc<Notify>,
}

impl Watches {
    /// Says that the store has changed. A hint only: the store is asked every second in any case.
    pub fn hint(&self) {
        self.hint.notify_one();
    }
}
