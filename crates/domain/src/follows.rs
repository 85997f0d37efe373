//! Follows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result,
    notifications::{NotificationRemoved, NotificationView},
    page::{Page, PageRequest},
    users::{UserId, UserSummary},
};

/// Outcome of a follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// Whether the user did not follow the other before.
    pub is_new: bool,
    /// Notification of the followed user, if the follow is new.
    pub notification: Option<NotificationView>,
}

/// Outcome of an unfollow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfollow {
    /// Whether the user followed the other before.
    pub was_following: bool,
    /// The notification of the follow, if it still existed.
    pub removed_notification: Option<NotificationRemoved>,
}

/// Stores follows. Methods treat users who are not verified or not active as missing.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait FollowRepository: Send + Sync {
    /// Follows a user, updates both counters and stores the notification in one transaction. Idempotent: a second
    /// follow changes nothing and returns `is_new: false`. Returns `None` if there is no such followee.
    async fn follow(&self, follower: UserId, followee: UserId, at: DateTime<Utc>) -> Result<Option<Follow>>;

    /// Unfollows a user, updates both counters and deletes the notification in one transaction. Idempotent: a second
    /// unfollow returns `was_following: false`. Returns `None` if there is no such followee.
    async fn unfollow(&self, follower: UserId, followee: UserId) -> Result<Option<Unfollow>>;

    /// Lists the followers of a user, newest first. Returns `None` if there is no such user.
    async fn list_followers(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>>;

    /// Lists the users whom `user` follows, newest first. Returns `None` if there is no such user.
    async fn list_following(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>>;
}
