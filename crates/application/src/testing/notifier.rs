//! A notifier that records.

use std::sync::{Arc, Mutex, PoisonError};

use domain::notifications::{LiveEvent, Notifier};

/// Records live events instead of sending them. Clones share their events.
#[derive(Clone, Default)]
pub struct RecordingNotifier(Arc<Mutex<Vec<LiveEvent>>>);

impl RecordingNotifier {
    /// Returns all events, oldest first.
    pub fn events(&self) -> Vec<LiveEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Notifier for RecordingNotifier {
    fn notify(&self, event: LiveEvent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}
