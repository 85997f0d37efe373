//! The current time.

use chrono::{DateTime, SubsecRound as _, Utc};

/// Provides the current time.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Clock: Send + Sync {
    /// Returns the current time in whole microseconds.
    fn now(&self) -> DateTime<Utc>;
}

/// Reads the clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    // PostgreSQL stores microseconds: a response to a write must equal later reads.
    #[expect(clippy::disallowed_methods)]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}
