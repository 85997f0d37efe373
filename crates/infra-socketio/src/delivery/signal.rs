//! Signals, and the queue from the use cases to the socket server.
//!
//! The signal of a new notification only triggers a read of the database, so it may be late, repeated or merged with
//! others. A read or deleted notification is sent as the signal describes it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use domain::{
    notifications::{LiveEvent, NotificationId, Notifier},
    sessions::{SessionId, SessionObserver},
    users::UserId,
};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::events::Change;

/// Maximum number of queued signals: about 5 MiB. Handling a signal takes microseconds and waits for nothing, so the
/// queue fills only if the runtime stands still for seconds.
///
/// A full queue drops the signal but not its meaning: the server then closes all connections of this process one after
/// another. Clients that reconnect read from the database what they missed, as they do after any loss of connection.
const MAX_QUEUED_SIGNALS: usize = 65_536;

/// Maximum number of signals taken from the queue at once.
const MAX_BATCH_SIZE: usize = 256;

/// An event for the connections of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    /// There are new notifications: up to this one, or an unknown number.
    New(Option<NotificationId>),
    /// A notification was read or deleted.
    Change(Change),
    /// A deferred notification may be due.
    Due,
}

/// An entry of the queue.
#[derive(Debug)]
pub(crate) enum QueuedSignal {
    ForUser(UserId, Signal),
    SessionsEnded(Vec<SessionId>),
}

/// The sending end of the signal queue: announces committed changes to connected clients. Clones share one queue.
#[derive(Clone)]
pub struct LiveNotifier {
    queue: mpsc::Sender<QueuedSignal>,
    has_overflowed: Arc<AtomicBool>,
}

/// The receiving end of the signal queue, for the socket server.
pub struct SignalReceiver {
    queue: mpsc::Receiver<QueuedSignal>,
    has_overflowed: Arc<AtomicBool>,
}

/// Creates the signal queue.
pub fn signal_queue() -> (LiveNotifier, SignalReceiver) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_SIGNALS);
    let has_overflowed = Arc::<AtomicBool>::default();
    let notifier = LiveNotifier { queue: sender, has_overflowed: has_overflowed.clone() };
    (notifier, SignalReceiver { queue: receiver, has_overflowed })
}

impl LiveNotifier {
    fn send(&self, signal: QueuedSignal) {
        // A closed queue means that the server has stopped, so no client is connected.
        if let Err(TrySendError::Full(_)) = self.queue.try_send(signal) {
            self.has_overflowed.store(true, Ordering::Relaxed);
        }
    }
}

impl Notifier for LiveNotifier {
    fn notify(&self, event: LiveEvent) {
        let signal = match (&event, Change::from_event(&event)) {
            (_, Some(change)) => Signal::Change(change),
            (LiveEvent::New(notification), None) => Signal::New(Some(notification.id)),
            (_, None) => return,
        };
        self.send(QueuedSignal::ForUser(event.recipient(), signal));
    }
}

impl SessionObserver for LiveNotifier {
    fn ended(&self, sessions: &[SessionId]) {
        if !sessions.is_empty() {
            self.send(QueuedSignal::SessionsEnded(sessions.to_vec()));
        }
    }
}

impl SignalReceiver {
    /// Appends the next signals to `batch`. Returns `false` if all senders are gone.
    pub(crate) async fn receive(&mut self, batch: &mut Vec<QueuedSignal>) -> bool {
        self.queue.recv_many(batch, MAX_BATCH_SIZE).await > 0
    }

    /// Returns whether signals were dropped since the last call.
    pub(crate) fn take_overflow(&self) -> bool {
        self.has_overflowed.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn full_queue_reports_the_overflow_once_and_keeps_what_it_has() {
        let (notifier, mut signals) = signal_queue();
        for _ in 0..MAX_QUEUED_SIGNALS {
            notifier.ended(&[SessionId(1)]);
        }
        assert!(!signals.take_overflow());
        notifier.ended(&[SessionId(2)]);
        assert!(signals.take_overflow());
        assert!(!signals.take_overflow());
        let mut batch = Vec::new();
        assert!(signals.receive(&mut batch).await);
        assert_eq!(batch.len(), MAX_BATCH_SIZE);
        notifier.ended(&[SessionId(3)]);
        assert!(!signals.take_overflow());
    }
}
