//! Counting within this process.

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

/// How many subjects are remembered at most; those that are seldom seen are forgotten first. About 40 MB.
const PARTIES: u64 = 100_000;
/// How long somebody is remembered who does nothing. Longer windows count as if they were this long.
const REMEMBERED: Duration = Duration::from_hours(2);

/// Counts in the memory of this process, which stays bounded.
pub struct LocalLimiter {
    buckets: Cache<RateLimitKey, Arc<Bucket>>,
    clock: DefaultClock,
}

impl Default for LocalLimiter {
    fn default() -> Self {
        let buckets = Cache::builder().max_capacity(PARTIES).time_to_idle(REMEMBERED).build();
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
            // More than there ever is.
            Err(_) => RateLimitState { is_allowed: false, remaining: 0, retry_after: limit.window },
        }
    }
}
