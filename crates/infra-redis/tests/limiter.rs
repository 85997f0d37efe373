//! Shared rate limits on a real Redis.

#![allow(clippy::unwrap_used)] // a test may panic anywhere
#![allow(clippy::disallowed_methods)] // a test may read the system's time

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use domain::rate_limit::{RateLimit, RateLimitKey, RateLimitState, RateLimiter};
use infra_redis::{RedisLimiter, ping};
use test_support::redis_url;

const FIVE: RateLimit = RateLimit { quota: 5, window: Duration::from_hours(1) };

/// Remaining requests reported by [`Fallback`].
const FALLBACK_REMAINING: u32 = 77;

/// Stands for the limiter of one process, and counts its checks.
#[derive(Default)]
struct Fallback(AtomicU32);

#[async_trait]
impl RateLimiter for Fallback {
    async fn check(&self, _: RateLimitKey, _: RateLimit, _: u32) -> RateLimitState {
        self.0.fetch_add(1, Ordering::Relaxed);
        RateLimitState { is_allowed: true, remaining: FALLBACK_REMAINING, retry_after: Duration::ZERO }
    }
}

/// Prefix of the keys of a test, which are deleted on drop.
struct Prefix(String);

impl Drop for Prefix {
    fn drop(&mut self) {
        let keys: Vec<_> = (0..10).map(|n| [self.0.as_bytes(), &[n; 16]].concat()).collect();
        if let Ok(mut redis) = redis::Client::open(redis_url()).and_then(|client| client.get_connection()) {
            let _ = redis::cmd("DEL").arg(keys).exec(&mut redis);
        }
    }
}

fn prefix() -> Prefix {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    Prefix(format!("test-{now}-{}-{}:", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn limiter(prefix: &Prefix) -> RedisLimiter {
    RedisLimiter::new(redis_url(), prefix.0.clone(), Arc::new(Fallback::default())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_limit() {
    let prefix = prefix();
    let (first, second) = (limiter(&prefix), limiter(&prefix));
    let key = RateLimitKey([1; 16]);
    let mut remaining = Vec::new();
    for n in 0..5 {
        let limiter = if n % 2 == 0 { &first } else { &second };
        let state = limiter.check(key, FIVE, 1).await;
        assert!(state.is_allowed);
        remaining.push(state.remaining);
    }
    assert_eq!(remaining, [4, 3, 2, 1, 0]);
    for limiter in [&first, &second] {
        let rejected = limiter.check(key, FIVE, 1).await;
        assert!(!rejected.is_allowed && rejected.remaining == 0);
        assert!(
            rejected.retry_after > Duration::from_mins(11) && rejected.retry_after <= Duration::from_mins(12)
        );
    }
    assert!(first.check(RateLimitKey([2; 16]), FIVE, 1).await.is_allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_checks_never_exceed_the_limit() {
    let prefix = prefix();
    let limiters = [Arc::new(limiter(&prefix)), Arc::new(limiter(&prefix))];
    limiters[0].check(RateLimitKey([9; 16]), FIVE, 1).await; // opens the connection
    let checks = (0..60).map(|n| {
        let limiter = limiters[n % 2].clone();
        tokio::spawn(async move { limiter.check(RateLimitKey([1; 16]), FIVE, 1).await })
    });
    let mut allowed = 0;
    for check in checks.collect::<Vec<_>>() {
        let state = check.await.unwrap();
        // The fallback responds when Redis is too slow on a busy machine.
        allowed += u32::from(state.is_allowed && state.remaining != FALLBACK_REMAINING);
    }
    assert!(allowed <= 5, "{allowed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_cost_is_not_counted() {
    let prefix = prefix();
    let limiter = limiter(&prefix);
    let key = RateLimitKey([1; 16]);
    assert_eq!(limiter.check(key, FIVE, 3).await.remaining, 2);
    assert!(!limiter.check(key, FIVE, 3).await.is_allowed);
    assert_eq!(limiter.check(key, FIVE, 2).await.remaining, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limiter_falls_back_while_redis_is_down() {
    let fallback = Arc::new(Fallback::default());
    // No server listens on this port.
    let limiter = RedisLimiter::new("redis://127.0.0.1:1", "test".into(), fallback.clone()).unwrap();
    for _ in 0..20 {
        assert_eq!(limiter.check(RateLimitKey([1; 16]), FIVE, 1).await.remaining, FALLBACK_REMAINING);
    }
    assert_eq!(fallback.0.load(Ordering::Relaxed), 20);
    assert!(ping("redis://127.0.0.1:1", Duration::from_secs(2)).await.is_err());
    assert_eq!(ping(redis_url(), Duration::from_secs(2)).await, Ok(()));
}
