//! Notifications about actions of other users.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result,
    comments::CommentId,
    page::{Page, PageRequest},
    posts::PostId,
    users::UserId,
};

/// Identifies a notification. Among those of one recipient a larger id was committed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NotificationId(pub i64);

/// An action that notifies another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activity {
    /// Followed the recipient.
    Follow,
    /// Liked a post of the recipient.
    Like(PostId),
    /// Commented on a post of the recipient.
    Comment(PostId, CommentId),
}

impl Activity {
    /// Returns its name in responses and tables.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Like(_) => "like",
            Self::Comment(..) => "comment",
        }
    }

    /// Returns the post it is about.
    pub fn post(self) -> Option<PostId> {
        match self {
            Self::Follow => None,
            Self::Like(post) | Self::Comment(post, _) => Some(post),
        }
    }

    /// Returns the comment it is about.
    pub fn comment(self) -> Option<CommentId> {
        match self {
            Self::Comment(_, comment) => Some(comment),
            Self::Follow | Self::Like(_) => None,
        }
    }
}

/// A notification as its recipient sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationView {
    /// The id.
    pub id: NotificationId,
    /// The notified user.
    pub recipient: UserId,
    /// The user who acted.
    pub actor: UserId,
    /// The name of that user.
    pub actor_username: String,
    /// The action.
    pub activity: Activity,
    /// Whether the recipient has read it.
    pub is_read: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

impl NotificationView {
    /// Returns a sentence to show to the recipient.
    pub fn message(&self) -> String {
        let verb = match self.activity {
            Activity::Follow => " started following you",
            Activity::Like(_) => " liked your post",
            Activity::Comment(..) => " commented on your post",
        };
        [self.actor_username.as_str(), verb].concat()
    }
}

/// A deleted notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationRemoved {
    /// The notified user.
    pub recipient: UserId,
    /// The id.
    pub id: NotificationId,
    /// Number of unread notifications left.
    pub unread_count: i64,
}

/// A page of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationPage {
    /// The page.
    pub page: Page<NotificationView>,
    /// Number of unread notifications, whatever the page contains.
    pub unread_count: i64,
}

/// Notifications that a user missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedNotifications {
    /// The notifications, oldest first.
    pub notifications: Vec<NotificationView>,
    /// Whether there are more.
    pub truncated: bool,
    /// Number of unread notifications, whatever the page contains.
    pub unread_count: i64,
}

/// Result of marking notifications as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedRead {
    /// Number of notifications that were unread before.
    pub changed: i64,
    /// Number of unread notifications left.
    pub unread_count: i64,
}

/// A committed change of a user's notifications to send to their connected clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// A notification was created.
    New(NotificationView),
    /// Notifications were marked as read.
    Read {
        /// The user whose notifications they are.
        recipient: UserId,
        /// The notification; `None` means all of them.
        id: Option<NotificationId>,
        /// Number of unread notifications afterwards.
        unread_count: i64,
    },
    /// A notification was deleted.
    Deleted(NotificationRemoved),
}

impl LiveEvent {
    /// Returns the user whose clients receive it.
    pub fn recipient(&self) -> UserId {
        match self {
            Self::New(notification) => notification.recipient,
            Self::Read { recipient, .. } => *recipient,
            Self::Deleted(removed) => removed.recipient,
        }
    }
}

/// Announces committed changes to the connected clients of their recipients.
///
/// A failure loses no notification: it is stored already, and clients that reconnect read the notifications they missed.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Notifier: Send + Sync {
    /// Queues the event and returns at once. Call it only after the commit.
    fn notify(&self, event: LiveEvent);
}

/// Stores notifications. They are created with the actions that cause them, by the repositories of those.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait NotificationRepository: Send + Sync {
    /// Returns a page of the recipient's notifications, newest first. Its total counts the filtered notifications.
    async fn list(&self, recipient: UserId, unread_only: bool, page: PageRequest)
    -> Result<NotificationPage>;

    /// Returns the recipient's notifications with ids above `since`, smallest id first, at most `limit`. Ids grow in the
    /// order of commits: no notification appears later below an id that was returned.
    async fn since(
        &self,
        recipient: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<Vec<NotificationView>>;

    /// Marks a notification as read. `None` if the recipient has no such notification.
    async fn mark_read(&self, recipient: UserId, id: NotificationId) -> Result<Option<MarkedRead>>;

    /// Marks all present notifications as read.
    async fn mark_all_read(&self, recipient: UserId) -> Result<MarkedRead>;

    /// Deletes a notification. `None` if the recipient has no such notification.
    async fn delete(&self, recipient: UserId, id: NotificationId) -> Result<Option<NotificationRemoved>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_actor_and_action() {
        let notification = |activity| NotificationView {
            id: NotificationId(1),
            recipient: UserId(1),
            actor: UserId(2),
            actor_username: "ann".into(),
            activity,
            is_read: false,
            created_at: DateTime::UNIX_EPOCH,
        };
        assert_eq!(notification(Activity::Follow).message(), "ann started following you");
        assert_eq!(notification(Activity::Like(PostId(1))).message(), "ann liked your post");
        assert_eq!(
            notification(Activity::Comment(PostId(1), CommentId(1))).message(),
            "ann commented on your post"
        );
    }
}
