//! Limits that hold for all processes together, on a real Redis.

#![allow(clippy::unwrap_used)] // a test may panic anywhere

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use domain::rate_limit::{Limit, LimitKey, RateLimitState, RateLimiter};
use infra_redis::{RedisLimiter, ping};
use test_support::redis_url;

const FIVE: Limit = Limit { quota: 5, window: Duration::from_hours(1) };

/// Stands for what this process counts alone, and notes that it was asked.
#[derive(Default)]
struct Alone(AtomicU32);

#[async_trait]
impl RateLimiter for Alone {
    async fn take(&self, _: LimitKey, _: Limit, _: u32) -> RateLimitState {
        self.0.fetch_add(1, Ordering::Relaxed);
        RateLimitState { is_allowed: true, remaining: 77, retry_after: Duration::ZERO }
    }
}

/// What the keys of a test begin with. They go with it.
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

fn process(prefix: &Prefix) -> RedisLimiter {
    RedisLimiter::new(redis_url(), prefix.0.clone(), Arc::new(Alone::default())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_lets_through_counts_for_the_other() {
    let prefix = prefix();
    let (one, other) = (process(&prefix), process(&prefix));
    let key = LimitKey([1; 16]);
    let mut left = Vec::new();
    for n in 0..5 {
        let limiter = if n % 2 == 0 { &one } else { &other };
        let state = limiter.take(key, FIVE, 1).await;
        assert!(state.is_allowed);
        left.push(state.remaining);
    }
    assert_eq!(left, [4, 3, 2, 1, 0]);
    for limiter in [&one, &other] {
        let refused = limiter.take(key, FIVE, 1).await;
        assert!(!refused.is_allowed && refused.remaining == 0);
        assert!(
            refused.retry_after > Duration::from_mins(11) && refused.retry_after <= Duration::from_mins(12)
        );
    }
    assert!(one.take(LimitKey([2; 16]), FIVE, 1).await.is_allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_ask_at_once_no_more_are_let_through() {
    let prefix = prefix();
    let processes = [Arc::new(process(&prefix)), Arc::new(process(&prefix))];
    processes[0].take(LimitKey([9; 16]), FIVE, 1).await; // connected
    let tries = (0..60).map(|n| {
        let limiter = processes[n % 2].clone();
        tokio::spawn(async move { limiter.take(LimitKey([1; 16]), FIVE, 1).await })
    });
    let mut allowed = 0;
    for one in tries.collect::<Vec<_>>() {
        let state = one.await.unwrap();
        // 77: Redis was too slow for that one on a busy machine.
        allowed += u32::from(state.is_allowed && state.remaining != 77);
    }
    assert!(allowed <= 5, "{allowed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cost_beyond_what_is_left_is_not_counted() {
    let prefix = prefix();
    let limiter = process(&prefix);
    let key = LimitKey([1; 16]);
    assert_eq!(limiter.take(key, FIVE, 3).await.remaining, 2);
    assert!(!limiter.take(key, FIVE, 3).await.is_allowed);
    assert_eq!(limiter.take(key, FIVE, 2).await.remaining, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_each_process_counts_alone() {
    let alone = Arc::new(Alone::default());
    // Nobody listens there.
    let limiter = RedisLimiter::new("redis://127.0.0.1:1", "test".into(), alone.clone()).unwrap();
    for _ in 0..20 {
        assert_eq!(limiter.take(LimitKey([1; 16]), FIVE, 1).await.remaining, 77);
    }
    assert_eq!(alone.0.load(Ordering::Relaxed), 20);
    assert!(ping("redis://127.0.0.1:1", Duration::from_secs(2)).await.is_err());
    assert_eq!(ping(redis_url(), Duration::from_secs(2)).await, Ok(()));
}
