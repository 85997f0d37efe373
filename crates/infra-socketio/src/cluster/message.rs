//! Messages between server processes.

use serde::{Deserialize, Serialize};

use crate::delivery::signal::Signal;

/// When the connections of a user to one process were opened, in milliseconds since 1970.
pub(crate) type OpeningTimes = Vec<i64>;

/// A message from one process to all others. Like a signal it carries no notification, so it may be lost: when Redis is
/// back, every process reads what it missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ClusterMessage {
    /// Messages may have been lost.
    CatchUp,
    /// The connections of a user to the sending process changed.
    Presence(i64, OpeningTimes),
    /// Heartbeat: all connections to the sending process.
    PresenceSnapshot(Vec<(i64, OpeningTimes)>),
    /// A signal of the sending process.
    #[serde(untagged)]
    Signal(Signal),
}

#[cfg(test)]
mod tests {
    use domain::notifications::NotificationId;
    use serde_json::json;

    use super::*;
    use crate::events::{Change, NotificationDeleted, NotificationRead};

    #[test]
    fn messages_survive_serialization() {
        let ids = NotificationRead::new(Some(NotificationId(5)), 4);
        let all = NotificationRead::new(None, 0);
        let deleted = NotificationDeleted { id: 5, unread_count: 4 };
        for message in [
            ClusterMessage::Signal(Signal::NewNotifications(1, Some(2))),
            ClusterMessage::Signal(Signal::NewNotifications(1, None)),
            ClusterMessage::Signal(Signal::NotificationsChanged(1, Change::Read(ids))),
            ClusterMessage::Signal(Signal::NotificationsChanged(1, Change::Read(all))),
            ClusterMessage::Signal(Signal::NotificationsChanged(1, Change::Deleted(deleted))),
            ClusterMessage::Signal(Signal::SessionsEnded(vec![7, 8])),
            ClusterMessage::CatchUp,
            ClusterMessage::Presence(1, vec![2, 3]),
            ClusterMessage::PresenceSnapshot(vec![(1, vec![2, 3]), (4, vec![5])]),
        ] {
            let sent = serde_json::to_vec(&message).unwrap();
            assert_eq!(serde_json::from_slice::<ClusterMessage>(&sent).unwrap(), message);
        }
    }

    /// Processes of two versions run side by side during an update.
    #[test]
    fn signal_is_sent_under_its_own_name() {
        let message = ClusterMessage::Signal(Signal::NewNotifications(1, Some(2)));
        assert_eq!(serde_json::to_value(&message).unwrap(), json!({"NewNotifications": [1, 2]}));
    }
}
