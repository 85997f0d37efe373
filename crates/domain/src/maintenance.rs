//! Background maintenance of stored data.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// Maintains stored data in the background. No response depends on it.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MaintenanceRepository: Send + Sync {
    /// Deletes registrations, username reservations, sessions and reset tokens that ended before `before`, and mails that
    /// are no longer retried and were requested longer than [`DEAD_MAIL_RETENTION`](crate::outbox::DEAD_MAIL_RETENTION)
    /// before, in steps of bounded length. Returns the number of deleted rows.
    async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64>;

    /// Deletes some of the likes, comments and notifications of deleted posts, in a time that does not depend on their
    /// number. Returns false if there were none; otherwise there may be more.
    async fn delete_remains(&self) -> Result<bool>;

    /// Adds recent changes to the counts that keep distant pages of the feed fast. Pages are as exact before, but
    /// slower.
    async fn count_feed_changes(&self) -> Result<()>;

    /// Compares a part of those counts with the posts, and rebuilds all if it is wrong.
    ///
    /// # Errors
    /// `Internal` if the counts were wrong.
    async fn check_feed_index(&self) -> Result<()>;

    /// Makes lists show the current names of users that were changed since the last successful call, by whichever process.
    async fn forget_changed_users(&self, at: DateTime<Utc>) -> Result<()>;
}
