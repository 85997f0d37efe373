//! Housekeeping of what nobody asks for any more.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// What is still to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Mails that are owed and tried.
    pub mails: i64,
    /// Since when the oldest of them is owed.
    pub oldest_mail: Option<DateTime<Utc>>,
    /// Mails that have been given up.
    pub dead_mails: i64,
    /// Files whose deletion is owed.
    pub media_deletions: i64,
}

/// Looks after rows that no answer depends on.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MaintenanceRepository: Send + Sync {
    /// Deletes registrations, name holds, sessions and reset tokens that ended before `before`, and says how many.
    async fn sweep(&self, before: DateTime<Utc>) -> Result<u64>;

    /// Does some of what keeps pages far back in the feed cheap; no answer depends on it. Whether more may be
    /// left.
    async fn maintain_feed_index(&self) -> Result<bool>;

    /// What is still to be done.
    async fn backlog(&self) -> Result<Backlog>;

    /// Whether the database answers and has the schema of this program.
    async fn ready(&self) -> Result<()>;
}
