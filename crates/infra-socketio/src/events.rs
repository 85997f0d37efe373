//! Events between server and clients. The `AsyncAPI` document is generated from these types.

use api_types::{Notification, ProblemDetails, format_timestamp};
use chrono::{DateTime, Utc};
use domain::notifications::{LiveEvent, NotificationRemoved, NotificationView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Event names.
pub mod names {
    /// The first event of every connection.
    pub const CONNECTED: &str = "connected";
    /// A new or missed notification.
    pub const NEW_NOTIFICATION: &str = "new_notification";
    /// The end of the replay.
    pub const REPLAY_COMPLETE: &str = "replay_complete";
    /// Notifications were marked as read, on any device.
    pub const NOTIFICATION_READ: &str = "notification_read";
    /// A notification was deleted.
    pub const NOTIFICATION_DELETED: &str = "notification_deleted";
    /// The token expires soon.
    pub const SESSION_EXPIRING: &str = "session_expiring";
    /// Sent by clients: a newer token. Acknowledged.
    pub const AUTHENTICATE: &str = "authenticate";
}

/// `connected`: the client is authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Connected {
    /// A greeting.
    #[schema(example = "Connected to notification service")]
    pub message: &'static str,
    /// The authenticated user.
    pub user_id: i64,
    /// Number of unread notifications.
    pub unread_count: i64,
}

/// `new_notification`: a notification, as the REST list returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NewNotification {
    /// The notification.
    #[serde(flatten)]
    pub notification: Notification,
    /// Present, and true, if the client was not connected when it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<bool>,
}

impl NewNotification {
    /// Builds the event, `replayed` or live.
    pub fn new(view: NotificationView, replayed: bool) -> Self {
        Self { notification: view.into(), replayed: replayed.then_some(true) }
    }
}

/// `replay_complete`: the missed notifications have been sent, up to the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplayComplete {
    /// Number of replayed notifications.
    pub count: usize,
    /// Whether more were missed than are replayed. The REST list has them.
    pub truncated: bool,
}

/// `notification_read`: one or all notifications were marked as read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum NotificationRead {
    /// Some notifications.
    These {
        /// Their ids.
        ids: Vec<i64>,
        /// Number of unread notifications left.
        unread_count: i64,
    },
    /// All notifications.
    All {
        /// Always true.
        all: bool,
        /// Number of unread notifications left.
        unread_count: i64,
    },
}

/// `notification_deleted`: a notification was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationDeleted {
    /// Its id.
    pub id: i64,
    /// Number of unread notifications left.
    pub unread_count: i64,
}

/// `session_expiring`: the connection ends soon because its token expires. Send `authenticate` to keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionExpiring {
    /// When the token expires: RFC 3339, UTC, microseconds.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Seconds until then.
    pub expires_in: i64,
}

impl SessionExpiring {
    pub(crate) fn new(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { expires_at: format_timestamp(expires_at), expires_in: (expires_at - now).num_seconds().max(0) }
    }
}

/// `authenticate`: a newer access token of the same user.
#[derive(Clone, Deserialize, ToSchema)]
pub struct Authenticate {
    /// The access token.
    pub token: String,
}

/// The acknowledgement of `authenticate`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Authenticated {
    /// Whether the connection uses the new token from now on. Otherwise it keeps the old one.
    pub success: bool,
    /// When the new token expires: RFC 3339, UTC, microseconds.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Why the token was refused: a problem object as in REST responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ProblemDetails>,
}

impl Authenticated {
    pub(crate) fn until(expires_at: DateTime<Utc>) -> Self {
        Self { success: true, expires_at: Some(format_timestamp(expires_at)), error: None }
    }

    pub(crate) fn refused(problem: ProblemDetails) -> Self {
        Self { success: false, expires_at: None, error: Some(problem) }
    }
}

/// A change of existing notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    Read(NotificationRead),
    Deleted(NotificationDeleted),
}

impl Change {
    /// Returns the change of an event; `None` for a new notification.
    pub(crate) fn from_event(event: &LiveEvent) -> Option<Self> {
        match *event {
            LiveEvent::New(_) => None,
            LiveEvent::Read { id: Some(id), unread_count, .. } => {
                Some(Self::Read(NotificationRead::These { ids: vec![id.0], unread_count }))
            }
            LiveEvent::Read { id: None, unread_count, .. } => {
                Some(Self::Read(NotificationRead::All { all: true, unread_count }))
            }
            LiveEvent::Deleted(removed) => {
                let NotificationRemoved { id, unread_count, .. } = removed;
                Some(Self::Deleted(NotificationDeleted { id: id.0, unread_count }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        notifications::{Activity, NotificationId},
        posts::PostId,
        users::UserId,
    };
    use serde_json::json;

    use super::*;

    fn view() -> NotificationView {
        NotificationView {
            id: NotificationId(5),
            recipient: UserId(1),
            actor: UserId(2),
            actor_username: "ann".into(),
            activity: Activity::Like(PostId(3)),
            is_read: false,
            created_at: DateTime::from_timestamp_micros(1_769_164_200_123_456).unwrap(),
        }
    }

    #[test]
    fn only_replayed_notifications_say_so() {
        let sent = serde_json::to_value(NewNotification::new(view(), true)).unwrap();
        assert_eq!((&sent["id"], &sent["replayed"]), (&json!(5), &json!(true)));
        let sent = serde_json::to_value(NewNotification::new(view(), false)).unwrap();
        assert_eq!(sent, serde_json::to_value(Notification::from(view())).unwrap());
    }

    #[test]
    fn read_event_names_one_notification_or_says_all() {
        let read = |id| LiveEvent::Read { recipient: UserId(1), id, unread_count: 4 };
        let sent = |event| match Change::from_event(&event) {
            Some(Change::Read(read)) => serde_json::to_value(read).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(sent(read(Some(NotificationId(5)))), json!({"ids": [5], "unread_count": 4}));
        assert_eq!(sent(read(None)), json!({"all": true, "unread_count": 4}));
    }
}
