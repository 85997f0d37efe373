//! Background maintenance of stored data.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// Maintains stored data in the background. No response depends on it.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MaintenanceRepository: Send + Sync {
    /// Deletes registrations, username reservations, sessions and reset tokens that ended before `before`.
    /// Returns the number of deleted rows.
    async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64>;

    /// Performs a bounded step of the maintenance of the index that keeps distant pages of the feed fast.
    /// Returns whether more work remains.
    async fn maintain_feed_index(&self) -> Result<bool>;
}
