//! A rate limiter within this process.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::rate_limit::{RateLimit, RateLimitKey, RateLimitState, RateLimiter};
use governor::{
    Quota,
    clock::{Clock as _, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use moka::sync::Cache;

type Bucket = governor::RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// Maximum number of counters, about 40 MB. The least used are evicted first.
const MAX_COUNTERS: u64 = 100_000;
/// Time after which an unused counter is evicted. Longer windows act as if they had this length.
const IDLE_TIMEOUT: Duration = Duration::from_hours(2);

/// Counts requests in a bounded amount of this process's memory.
pub struct LocalLimiter {
    buckets: Cache<RateLimitKey, Arc<Bucket>>,
    clock: DefaultClock,
}

impl Default for LocalLimiter {
    fn default() -> Self {
        let buckets = Cache::builder().max_capacity(MAX_COUNTERS).time_to_idle(IDLE_TIMEOUT).build();
        Self { buckets, clock: DefaultClock::default() }
    }
}

fn bucket(limit: RateLimit) -> Bucket {
    let burst = NonZeroU32::new(limit.quota).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(limit.interval()).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
    governor::RateLimiter::direct(quota).with_middleware()
}

#[async_trait]
impl RateLimiter for LocalLimiter {
    async fn check(&self, key: RateLimitKey, limit: RateLimit, cost: u32) -> RateLimitState {
        let bucket = self.buckets.get_with(key, || Arc::new(bucket(limit)));
        let cost = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN);
        match bucket.check_n(cost) {
            Ok(Ok(state)) => RateLimitState {
                is_allowed: true,
                remaining: state.remaining_burst_capacity(),
                retry_after: Duration::ZERO,
            },
            Ok(Err(not_until)) => RateLimitState {
                is_allowed: false,
                remaining: 0,
                retry_after: not_until.wait_time_from(self.clock.now()),
            },
            // The cost exceeds the quota.
            Err(_) => RateLimitState { is_allowed: false, remaining: 0, retry_after: limit.window },
        }
    }
}
