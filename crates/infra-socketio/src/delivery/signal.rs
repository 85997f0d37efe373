//! Signals, and the queue from the use cases to the socket server.
//!
//! The signal of a new notification only triggers a read of the database, so it may be late, repeated or merged with
//! others. A read or deleted notification is sent as the signal describes it.

use std::sync::Arc;

use domain::{
    notifications::{LiveEvent, NotificationRemoved, Notifier},
    sessions::{SessionId, SessionObserver},
};
use serde::{Deserialize, Serialize};

use crate::{
    delivery::queue::{LossyReceiver, LossySender, lossy_queue},
    events::{Change, NotificationDeleted, NotificationRead},
};

/// Maximum number of queued signals: about 5 MiB. Handling a signal takes microseconds and waits for nothing, so the
/// queue fills only if the runtime stands still for seconds.
///
/// A full queue drops the signal but not its meaning: the server then closes all connections of this process one after
/// another. Clients that reconnect read from the database what they missed, as they do after any loss of connection.
const MAX_QUEUED_SIGNALS: usize = 65_536;

/// A committed change that concerns connected clients, of this process and of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Signal {
    /// A user has new notifications: up to this one, or an unknown number.
    NewNotifications(i64, Option<i64>),
    /// A notification of a user was read or deleted.
    NotificationsChanged(i64, Change),
    /// Sessions have ended.
    SessionsEnded(Vec<i64>),
}

/// The sending end of the signal queue: announces committed changes to connected clients. Clones share one queue.
#[derive(Clone)]
pub struct LiveNotifier(Arc<LossySender<Signal>>);

/// The receiving end of the signal queue, for the socket server.
pub struct SignalReceiver(pub(crate) LossyReceiver<Signal>);

/// Creates the signal queue.
pub fn signal_queue() -> (LiveNotifier, SignalReceiver) {
    let (sender, receiver) = lossy_queue(MAX_QUEUED_SIGNALS);
    (LiveNotifier(Arc::new(sender)), SignalReceiver(receiver))
}

impl Notifier for LiveNotifier {
    fn notify(&self, event: LiveEvent) {
        let user = event.recipient().0;
        self.0.send(match event {
            LiveEvent::New(row) => Signal::NewNotifications(user, Some(row.id.0)),
            LiveEvent::Read { id, unread_count, .. } => {
                Signal::NotificationsChanged(user, Change::Read(NotificationRead::new(id, unread_count)))
            }
            LiveEvent::Deleted(NotificationRemoved { id, unread_count, .. }) => {
                let deleted = NotificationDeleted { id: id.0, unread_count };
                Signal::NotificationsChanged(user, Change::Deleted(deleted))
            }
        });
    }
}

impl SessionObserver for LiveNotifier {
    fn ended(&self, sessions: &[SessionId]) {
        if !sessions.is_empty() {
            self.0.send(Signal::SessionsEnded(sessions.iter().map(|id| id.0).collect()));
        }
    }
}
