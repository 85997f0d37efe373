//! Use cases of the social network. There is one service for each noun; its methods are the use cases.
//!
//! Use cases take owned values, since they run to completion even if the client disconnects.

#![cfg_attr(test, allow(clippy::disallowed_methods))] // a test may read the system's time

pub mod accounts;
pub mod comments;
pub mod follows;
pub mod keyed_hash;
pub mod media;
pub mod media_cleanup;
pub mod networks;
pub mod notifications;
pub mod outbox;
pub mod passwords;
pub mod posts;
pub mod random;
pub mod rate_limit;
pub mod sessions;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tokens;

/// All services.
#[derive(Clone)]
pub struct Services {
    /// Authentication, and lists and ends of sessions.
    pub sessions: sessions::SessionService,
    /// Registration, login and passwords.
    pub accounts: accounts::AccountService,
    /// Posts and likes.
    pub posts: posts::PostService,
    /// Deletion of orphaned files.
    pub media_cleanup: media_cleanup::MediaCleanupService,
    /// Comments.
    pub comments: comments::CommentService,
    /// Follows.
    pub follows: follows::FollowService,
    /// Notifications.
    pub notifications: notifications::NotificationService,
}
