//! How often somebody may do something.

use std::time::Duration;

use async_trait::async_trait;

/// Up to `quota` at once, and as many in every `window` in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many; at least 1.
    pub quota: u32,
    /// In which time; longer than nothing.
    pub window: Duration,
}

impl RateLimit {
    /// The time after which one more is free.
    pub fn interval(&self) -> Duration {
        (self.window / self.quota.max(1)).max(Duration::from_nanos(1))
    }

    /// So many times as much in the same time, and at least one.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 1 to the largest number
    pub fn scale(self, factor: f64) -> Self {
        let quota = (f64::from(self.quota) * factor).round().clamp(1.0, f64::from(u32::MAX));
        Self { quota: quota as u32, ..self }
    }
}

/// What is counted: a tag that says neither who nor what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RateLimitKey(pub [u8; 16]);

/// How things stand after one has asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitState {
    /// Whether it may be done. It is counted only then.
    pub is_allowed: bool,
    /// How many more may be done at once.
    pub remaining: u32,
    /// How long to wait if it may not be done.
    pub retry_after: Duration,
}

/// Counts what is done.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Counts `cost` against `limit`, unless that is more than is left of it. It answers always, and within
    /// milliseconds.
    async fn check(&self, key: RateLimitKey, limit: RateLimit, cost: u32) -> RateLimitState;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_is_multiplied_and_never_becomes_nothing() {
        let limit = RateLimit { quota: 20, window: Duration::from_mins(1) };
        assert_eq!(limit.scale(2.5).quota, 50);
        assert_eq!(limit.scale(0.001).quota, 1);
        assert_eq!(limit.scale(f64::MAX).quota, u32::MAX);
        assert_eq!(limit.interval(), Duration::from_secs(3));
    }

    proptest! {
        #[test]
        fn in_a_window_is_room_for_the_quota(quota in 1u32.., seconds in 1u64..100_000, factor in 0.0..1e6) {
            let limit = RateLimit { quota, window: Duration::from_secs(seconds) }.scale(factor);
            prop_assert!(limit.quota >= 1 && limit.interval() > Duration::ZERO);
            prop_assert!(limit.interval() <= limit.window);
            prop_assert!(limit.interval() == Duration::from_nanos(1) || limit.interval() * limit.quota <= limit.window);
        }
    }
}
