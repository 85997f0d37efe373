//! Notifications: what others did that concerns a user.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result,
    comments::CommentId,
    page::{Page, PageRequest, Position},
    posts::PostId,
    users::UserId,
};

/// Identifies a notification. Among those of one recipient a larger id was committed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NotificationId(pub i64);

/// What somebody did.
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
    /// The word for it in answers and tables.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Like(_) => "like",
            Self::Comment(..) => "comment",
        }
    }

    /// The post it is about.
    pub fn post(self) -> Option<PostId> {
        match self {
            Self::Follow => None,
            Self::Like(post) | Self::Comment(post, _) => Some(post),
        }
    }

    /// The comment it is about.
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
    /// Which one.
    pub id: NotificationId,
    /// Who is told.
    pub recipient: UserId,
    /// Who did it.
    pub actor: UserId,
    /// The name of who did it.
    pub actor_username: String,
    /// What they did.
    pub activity: Activity,
    /// Whether the recipient has seen it.
    pub is_read: bool,
    /// When it was done.
    pub created_at: DateTime<Utc>,
}

impl NotificationView {
    /// The sentence that tells it.
    pub fn message(&self) -> String {
        let verb = match self.activity {
            Activity::Follow => " started following you",
            Activity::Like(_) => " liked your post",
            Activity::Comment(..) => " commented on your post",
        };
        [self.actor_username.as_str(), verb].concat()
    }

    /// Its place in its recipient's list.
    pub fn position(&self) -> Position {
        Position { at: self.created_at, id: self.id.0 }
    }
}

/// A notification that is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationRemoved {
    /// Whose it was.
    pub recipient: UserId,
    /// Which one.
    pub id: NotificationId,
    /// How many unread ones the recipient has left.
    pub unread_count: i64,
}

/// A page of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationPage {
    /// The page.
    pub page: Page<NotificationView>,
    /// How many unread ones there are in all.
    pub unread_count: i64,
}

/// What a user has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedNotifications {
    /// The notifications, oldest first.
    pub notifications: Vec<NotificationView>,
    /// Whether there are more.
    pub truncated: bool,
    /// How many unread ones there are in all.
    pub unread_count: i64,
}

/// What became of marking as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedRead {
    /// How many were unread before.
    pub changed: i64,
    /// How many unread ones are left.
    pub unread_count: i64,
}

/// A committed change of a user's notifications that their connected clients should learn of.
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
    /// Returns the user whose clients should learn of it.
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
/// A failure loses no notification: it is stored already, and clients that reconnect read what they missed.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Notifier: Send + Sync {
    /// Queues the event and returns at once. Call it only after the commit.
    fn notify(&self, event: LiveEvent);
}

/// Stores notifications. They come into being with their deeds, in the repositories of those.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait NotificationRepository: Send + Sync {
    /// A page of the recipient's notifications, newest first. Its total counts what the filter lets through.
    async fn list(&self, recipient: UserId, unread_only: bool, page: PageRequest)
    -> Result<NotificationPage>;

    /// The recipient's notifications with ids above `since`, smallest id first, at most `limit`. Since ids grow in the
    /// order of commits, what has been seen once is never overtaken from behind.
    async fn since(
        &self,
        recipient: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<Vec<NotificationView>>;

    /// Marks one as read; `None` if the recipient has no such notification.
    async fn mark_read(&self, recipient: UserId, id: NotificationId) -> Result<Option<MarkedRead>>;

    /// Marks all as read that are there now.
    async fn mark_all_read(&self, recipient: UserId) -> Result<MarkedRead>;

    /// Deletes one; `None` if the recipient has no such notification.
    async fn delete(&self, recipient: UserId, id: NotificationId) -> Result<Option<NotificationRemoved>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_actor_and_the_deed() {
        let told = |activity| NotificationView {
            id: NotificationId(1),
            recipient: UserId(1),
            actor: UserId(2),
            actor_username: "ann".into(),
            activity,
            is_read: false,
            created_at: DateTime::UNIX_EPOCH,
        };
        assert_eq!(told(Activity::Follow).message(), "ann started following you");
        assert_eq!(told(Activity::Like(PostId(1))).message(), "ann liked your post");
        assert_eq!(told(Activity::Comment(PostId(1), CommentId(1))).message(), "ann commented on your post");
    }
}
