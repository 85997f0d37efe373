//! What one can do with the network: a service a noun, a method a use case.
//!
//! Use cases take owned values, since they run to their end also when the client that asked
//! has gone.

#![cfg_attr(test, allow(clippy::disallowed_methods))] // a test may read the system's time

pub mod accounts;
pub mod comments;
pub mod follows;
pub mod keyed_hash;
pub mod media;
pub mod media_cleanup;
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

/// Every use case.
#[derive(Clone)]
pub struct Services {
    /// Who is calling.
    pub sessions: sessions::SessionService,
    /// Joining, logging in, and keeping an account.
    pub accounts: accounts::AccountService,
    /// Publishing, reading and liking posts.
    pub posts: posts::PostService,
    /// Deleting files that belong to no post.
    pub media_cleanup: media_cleanup::MediaCleanupService,
    /// Commenting on posts.
    pub comments: comments::CommentService,
    /// Following users.
    pub follows: follows::FollowService,
    /// Reading notifications.
    pub notifications: notifications::NotificationService,
}
