//! Rate limits.

use std::time::Duration;

use async_trait::async_trait;

/// A rate limit: a burst of up to `quota` requests, and `quota` requests per `window` in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Number of requests; at least 1.
    pub quota: u32,
    /// Length of the window; longer than zero.
    pub window: Duration,
}

impl RateLimit {
    /// Returns the time after which one more request is allowed.
    pub fn interval(&self) -> Duration {
        (self.window / self.quota.max(1)).max(Duration::from_nanos(1))
    }

    /// Multiplies the quota by `factor`; at least one request stays allowed.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped to 1..=u32::MAX
    pub fn scale(self, factor: f64) -> Self {
        let quota = (f64::from(self.quota) * factor).round().clamp(1.0, f64::from(u32::MAX));
        Self { quota: quota as u32, ..self }
    }
}

/// Identifies a counter. The key is a keyed hash that reveals neither subject nor class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RateLimitKey(pub [u8; 16]);

/// State of a rate limit after a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitState {
    /// Whether the request is allowed. Only allowed requests are counted.
    pub is_allowed: bool,
    /// Number of further requests that are allowed immediately.
    pub remaining: u32,
    /// Time until the request would be allowed; zero if it is.
    pub retry_after: Duration,
}

/// Counts requests against rate limits.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Counts `cost` requests against `limit`, unless that exceeds it. Never fails, and returns within milliseconds:
    /// an implementation whose backend is unavailable must fall back.
    async fn check(&self, key: RateLimitKey, limit: RateLimit, cost: u32) -> RateLimitState;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scale_multiplies_the_quota_and_never_returns_zero() {
        let limit = RateLimit { quota: 20, window: Duration::from_mins(1) };
        assert_eq!(limit.scale(2.5).quota, 50);
        assert_eq!(limit.scale(0.001).quota, 1);
        assert_eq!(limit.scale(f64::MAX).quota, u32::MAX);
        assert_eq!(limit.interval(), Duration::from_secs(3));
    }

    proptest! {
        #[test]
        fn interval_times_quota_fits_into_the_window(quota in 1u32.., seconds in 1u64..100_000, factor in 0.0..1e6) {
            let limit = RateLimit { quota, window: Duration::from_secs(seconds) }.scale(factor);
            prop_assert!(limit.quota >= 1 && limit.interval() > Duration::ZERO);
            prop_assert!(limit.interval() <= limit.window);
            prop_assert!(limit.interval() == Duration::from_nanos(1) || limit.interval() * limit.quota <= limit.window);
        }
    }
}
