//! Notifications.

use domain::notifications::{Activity, NotificationView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::format_timestamp;

/// A notification, as the REST list returns it and Socket.IO sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Notification {
    /// The id. Clients pass the largest one they received as `since` when they reconnect.
    #[schema(example = 1)]
    pub id: i64,
    /// The activity that caused it.
    #[serde(rename = "type")]
    pub kind: NotificationKind,
    /// The user who acted.
    #[schema(example = 2)]
    pub actor_id: i64,
    /// The name of that user.
    #[schema(example = "bob")]
    pub actor_username: String,
    /// The post it is about; null for a follow.
    #[schema(required, example = 1)]
    pub post_id: Option<i64>,
    /// The comment it is about; null unless it is a comment.
    #[schema(required, example = json!(null))]
    pub comment_id: Option<i64>,
    /// Whether the recipient has read it.
    #[schema(example = false)]
    pub is_read: bool,
    /// When the activity happened: RFC 3339, UTC, microseconds.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    pub created_at: String,
    /// A sentence to show to the recipient.
    #[schema(example = "bob liked your post")]
    pub message: String,
}

/// The kind of activity that caused a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NotificationType, example = "like")]
pub enum NotificationKind {
    /// The actor followed the recipient.
    Follow,
    /// The actor liked a post of the recipient.
    Like,
    /// The actor commented on a post of the recipient.
    Comment,
}

impl From<NotificationView> for Notification {
    fn from(view: NotificationView) -> Self {
        Self {
            id: view.id.0,
            kind: match view.activity {
                Activity::Follow => NotificationKind::Follow,
                Activity::Like(_) => NotificationKind::Like,
                Activity::Comment(..) => NotificationKind::Comment,
            },
            actor_id: view.actor.0,
            post_id: view.activity.post().map(|post| post.0),
            comment_id: view.activity.comment().map(|comment| comment.0),
            is_read: view.is_read,
            created_at: format_timestamp(view.created_at),
            message: view.message(),
            actor_username: view.actor_username,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{notifications::NotificationId, posts::PostId, users::UserId};
    use serde_json::json;

    use super::*;

    #[test]
    fn notification_has_the_json_shape_of_the_api() {
        let view = NotificationView {
            id: NotificationId(5),
            recipient: UserId(1),
            actor: UserId(2),
            actor_username: "ann".into(),
            activity: Activity::Like(PostId(3)),
            is_read: false,
            created_at: DateTime::from_timestamp_micros(1_769_164_200_123_456).unwrap(),
        };
        assert_eq!(
            serde_json::to_value(Notification::from(view)).unwrap(),
            json!({
                "id": 5, "type": "like", "actor_id": 2, "actor_username": "ann", "post_id": 3,
                "comment_id": null, "is_read": false, "created_at": "2026-01-23T10:30:00.123456Z",
                "message": "ann liked your post",
            })
        );
    }

    #[test]
    fn notification_kinds_are_the_kinds_of_activities() {
        use domain::comments::CommentId;
        for (activity, kind) in [
            (Activity::Follow, NotificationKind::Follow),
            (Activity::Like(PostId(1)), NotificationKind::Like),
            (Activity::Comment(PostId(1), CommentId(1)), NotificationKind::Comment),
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), activity.kind());
        }
    }
}
