//! Who follows whom.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result,
    notifications::{NotificationRemoved, NotificationView},
    page::{Page, PageRequest},
    users::{UserId, UserSummary},
};

/// What became of a follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// False if it was so before.
    pub is_new: bool,
    /// What the followed user is told, if it is new.
    pub notification: Option<NotificationView>,
}

/// What became of an unfollow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfollow {
    /// False if there was nothing to take back.
    pub was_following: bool,
    /// The notification that went with the follow.
    pub removed_notification: Option<NotificationRemoved>,
}

/// Stores who follows whom. Users who are not verified or not active are, to others, not there.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait FollowRepository: Send + Sync {
    /// Records that `follower` follows `followee`, counts it for both and stores the notification, all or nothing,
    /// once however often it is called. `None` if there is no such followee.
    async fn follow(&self, follower: UserId, followee: UserId, at: DateTime<Utc>) -> Result<Option<Follow>>;

    /// Takes a follow back, with its counts and its notification. `None` if there is no such followee.
    async fn unfollow(&self, follower: UserId, followee: UserId) -> Result<Option<Unfollow>>;

    /// A page of those who follow `user`, newest first; `None` if there is no such user.
    async fn list_followers(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>>;

    /// A page of those whom `user` follows, newest first; `None` if there is no such user.
    async fn list_following(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>>;
}
