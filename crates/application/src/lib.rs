//! What one can do with the network: a service a noun, a method a use case.
//!
//! Use cases take owned values, since they run to their end also when the client that asked
//! has gone.

pub mod accounts;
pub mod comments;
pub mod follows;
pub mod keyed_hash;
pub mod live;
pub mod media;
pub mod notifications;
pub mod outbox;
pub mod passwords;
pub mod posts;
pub mod random;
pub mod rate_limit;
pub mod sessions;
pub mod tokens;

/// Every use case.
#[derive(Clone)]
pub struct Services {
    /// Who is calling.
    pub sessions: sessions::Sessions,
    /// Joining, logging in, and keeping an account.
    pub accounts: accounts::AccountService,
    /// Publishing, reading and liking posts.
    pub posts: posts::PostService,
    /// Commenting on posts.
    pub comments: comments::CommentService,
    /// Following users.
    pub follows: follows::FollowService,
    /// Reading notifications.
    pub notifications: notifications::NotificationService,
}
