//! The health of the database and of the work queued in it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// Counts of the work that waits in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Mails in the outbox that are still retried.
    pub pending_mails: i64,
    /// Time when the oldest of the pending mails was queued.
    pub oldest_mail_at: Option<DateTime<Utc>>,
    /// Mails that are no longer retried.
    pub dead_mails: i64,
    /// Files with a scheduled deletion.
    pub pending_media_deletions: i64,
}

/// Reports the health of the database.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait HealthRepository: Send + Sync {
    /// Fails unless the database responds and has the schema that this program expects.
    async fn check(&self) -> Result<()>;

    /// Counts the work that waits in the database.
    async fn backlog(&self) -> Result<Backlog>;
}
