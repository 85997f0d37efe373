//! Messages between server processes.

use domain::users::UserId;
use serde::{Deserialize, Serialize};

use crate::{delivery::signal::Signal, events::Change};

/// When the connections of a user to one process were opened, in milliseconds since 1970.
pub(crate) type OpeningTimes = Vec<i64>;

/// A message from one process to all others. Like a signal it carries no notification, so it may be lost: when Redis is
/// back, every process reads what it missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ClusterMessage {
    /// A user has new notifications: up to this one, or an unknown number.
    NewNotifications(i64, Option<i64>),
    /// A notification of a user was read or deleted.
    NotificationsChanged(i64, Change),
    /// Sessions have ended.
    SessionsEnded(Vec<i64>),
    /// Messages may have been lost.
    CatchUp,
    /// The connections of a user to the sending process changed.
    Presence(i64, OpeningTimes),
    /// Heartbeat: all connections to the sending process.
    PresenceSnapshot(Vec<(i64, OpeningTimes)>),
}

/// A message as it is published.
#[derive(Serialize, Deserialize)]
pub(crate) struct Envelope<M> {
    /// The sending process, which ignores its own messages.
    pub(crate) sender: String,
    pub(crate) message: M,
}

impl ClusterMessage {
    /// Returns the message that passes a signal on to other processes. `None` if the signal concerns only this one.
    pub(crate) fn from_signal(user: UserId, signal: &Signal) -> Option<Self> {
        match signal {
            Signal::New(id) => Some(Self::NewNotifications(user.0, id.map(|id| id.0))),
            Signal::Change(change) => Some(Self::NotificationsChanged(user.0, change.clone())),
            Signal::Due => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{NotificationDeleted, NotificationRead};

    #[test]
    fn messages_survive_serialization() {
        let ids = NotificationRead::These { ids: vec![5], unread_count: 4 };
        let all = NotificationRead::All { all: true, unread_count: 0 };
        let deleted = NotificationDeleted { id: 5, unread_count: 4 };
        for message in [
            ClusterMessage::NewNotifications(1, Some(2)),
            ClusterMessage::NewNotifications(1, None),
            ClusterMessage::NotificationsChanged(1, Change::Read(ids)),
            ClusterMessage::NotificationsChanged(1, Change::Read(all)),
            ClusterMessage::NotificationsChanged(1, Change::Deleted(deleted)),
            ClusterMessage::SessionsEnded(vec![7, 8]),
            ClusterMessage::CatchUp,
            ClusterMessage::Presence(1, vec![2, 3]),
            ClusterMessage::PresenceSnapshot(vec![(1, vec![2, 3]), (4, vec![5])]),
        ] {
            let sent = serde_json::to_vec(&Envelope { sender: "a".into(), message: &message }).unwrap();
            let received: Envelope<ClusterMessage> = serde_json::from_slice(&sent).unwrap();
            assert_eq!(received.message, message);
        }
    }
}
