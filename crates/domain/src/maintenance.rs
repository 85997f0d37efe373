//! Housekeeping of what nobody asks for any more.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// Removes rows that no answer depends on.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MaintenanceRepository: Send + Sync {
    /// Deletes registrations, name holds, sessions and reset tokens that ended before `before`, and says how many.
    async fn sweep(&self, before: DateTime<Utc>) -> Result<u64>;

    /// Whether the database answers and has the schema of this program.
    async fn ready(&self) -> Result<()>;
}
