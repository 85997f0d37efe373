//! Events between server and clients. The `AsyncAPI` document is generated from these types.

use api_types::{Notification, ProblemDetails, format_timestamp};
use chrono::{DateTime, Utc};
use domain::notifications::{NotificationId, NotificationView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Event names.
pub(crate) mod names {
    pub(crate) const CONNECTED: &str = "connected";
    pub(crate) const NEW_NOTIFICATION: &str = "new_notification";
    pub(crate) const REPLAY_COMPLETE: &str = "replay_complete";
    pub(crate) const NOTIFICATION_READ: &str = "notification_read";
    pub(crate) const NOTIFICATION_DELETED: &str = "notification_deleted";
    pub(crate) const SESSION_EXPIRING: &str = "session_expiring";
    /// Sent by clients, and acknowledged.
    pub(crate) const AUTHENTICATE: &str = "authenticate";
}

/// `connected`: the client is authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Connected {
    /// A greeting.
    #[schema(example = "Connected to notification service")]
    pub(crate) message: &'static str,
    /// The authenticated user.
    pub(crate) user_id: i64,
    /// Number of unread notifications.
    pub(crate) unread_count: i64,
}

/// `new_notification`: a notification, as the REST list returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NewNotification {
    /// The notification.
    #[serde(flatten)]
    pub(crate) notification: Notification,
    /// Present, and true, if the client was not connected when it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replayed: Option<bool>,
}

impl NewNotification {
    /// Builds the event, `replayed` or live.
    pub(crate) fn new(view: NotificationView, replayed: bool) -> Self {
        Self { notification: view.into(), replayed: replayed.then_some(true) }
    }
}

/// `replay_complete`: the missed notifications have been sent, up to the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ReplayComplete {
    /// Number of replayed notifications.
    pub(crate) count: usize,
    /// Whether more were missed than are replayed. The REST list has them.
    pub(crate) truncated: bool,
}

/// `notification_read`: one or all notifications were marked as read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum NotificationRead {
    These(TheseRead),
    All(AllRead),
}

/// Some notifications were marked as read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TheseRead {
    /// Their ids.
    ids: Vec<i64>,
    /// Number of unread notifications left.
    unread_count: i64,
}

/// All notifications were marked as read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AllRead {
    /// Always true.
    all: bool,
    /// Number of unread notifications left.
    unread_count: i64,
}

impl NotificationRead {
    /// Builds the event of one notification, or of all.
    pub(crate) fn new(id: Option<NotificationId>, unread_count: i64) -> Self {
        match id {
            Some(id) => Self::These(TheseRead { ids: vec![id.0], unread_count }),
            None => Self::All(AllRead { all: true, unread_count }),
        }
    }
}

/// `notification_deleted`: a notification was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct NotificationDeleted {
    /// Its id.
    pub(crate) id: i64,
    /// Number of unread notifications left.
    pub(crate) unread_count: i64,
}

/// `session_expiring`: the connection ends soon because its token expires. Send `authenticate` to keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SessionExpiring {
    /// When the token expires: RFC 3339, UTC, microseconds.
    #[schema(format = DateTime)]
    pub(crate) expires_at: String,
    /// Seconds until then.
    pub(crate) expires_in: i64,
}

impl SessionExpiring {
    pub(crate) fn new(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { expires_at: format_timestamp(expires_at), expires_in: (expires_at - now).num_seconds().max(0) }
    }
}

/// `authenticate`: a newer access token of the same user.
#[derive(Clone, Deserialize, ToSchema)]
pub(crate) struct Authenticate {
    /// The access token.
    pub(crate) token: String,
}

/// The acknowledgement of `authenticate`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Authenticated {
    /// Whether the connection uses the new token from now on. Otherwise it keeps the old one.
    pub(crate) success: bool,
    /// When the new token expires: RFC 3339, UTC, microseconds.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    /// Why the token was refused: a problem object as in REST responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ProblemDetails>,
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

#[cfg(test)]
mod tests {
    use domain::{notifications::Activity, posts::PostId, users::UserId};
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
        let sent = |id| serde_json::to_value(NotificationRead::new(id, 4)).unwrap();
        assert_eq!(sent(Some(NotificationId(5))), json!({"ids": [5], "unread_count": 4}));
        assert_eq!(sent(None), json!({"all": true, "unread_count": 4}));
    }
}
