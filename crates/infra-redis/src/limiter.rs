//! Rate limits shared by all processes.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use domain::{
    Error, Result,
    rate_limit::{RateLimit, RateLimitKey, RateLimitState, RateLimiter},
};
use redis::{
    Client, RedisError, RedisResult, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

/// Time limit for one check in Redis.
const CHECK_TIMEOUT: Duration = Duration::from_millis(50);
/// Time without further checks in Redis after one has failed; also the limit for connecting.
const RETRY_DELAY: Duration = Duration::from_secs(1);

const NO_RESPONSE: &str = "no response in time";

/// The generic cell rate algorithm. A key stores the theoretical arrival time (TAT), in microseconds of Redis' own
/// clock: the time at which the whole quota is available again, and when the key expires. Returns whether the request
/// is allowed, how many more are, and the wait in microseconds if it is not.
static CHECK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local interval, quota, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local tat = math.max(tonumber(redis.call('GET', KEYS[1])) or 0, now) + interval * cost
local window = interval * quota
if tat - now > window then
    return {0, 0, tat - now - window}
end
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
return {1, math.floor((window - (tat - now)) / interval), 0}
",
    )
});

/// Counts requests in Redis, and in this process alone while Redis does not respond.
pub struct RedisLimiter {
    manager: ConnectionManager,
    prefix: String,
    fallback: Arc<dyn RateLimiter>,
    started: Instant,
    /// Time before which Redis is not used, in milliseconds since `started`.
    retry_at: AtomicU64,
    is_down: AtomicBool,
}

impl RedisLimiter {
    /// Creates a limiter whose keys in the Redis at `url` begin with `prefix`. Redis need not be running yet. The
    /// connection lives on the current runtime, which must outlive all callers.
    pub fn new(url: &str, prefix: String, fallback: Arc<dyn RateLimiter>) -> Result<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(RETRY_DELAY))
            .set_response_timeout(Some(RETRY_DELAY))
            .set_max_delay(RETRY_DELAY)
            .set_number_of_retries(1);
        let client = Client::open(url).map_err(Error::internal)?;
        let manager = ConnectionManager::new_lazy_with_config(client, config).map_err(Error::internal)?;
        let (retry_at, is_down) = (AtomicU64::default(), AtomicBool::default());
        Ok(Self { manager, prefix, fallback, started: Instant::now(), retry_at, is_down })
    }

    fn elapsed_millis(&self) -> u64 {
        millis(self.started.elapsed())
    }

    async fn check_in_redis(
        &self,
        key: RateLimitKey,
        limit: RateLimit,
        cost: u32,
    ) -> RedisResult<RateLimitState> {
        let name = [self.prefix.as_bytes(), &key.0].concat();
        let interval = u64::try_from(limit.interval().as_micros()).unwrap_or(u64::MAX).max(1);
        let mut invocation = CHECK.prepare_invoke();
        invocation.key(name).arg(interval).arg(limit.quota).arg(cost);
        let mut manager = self.manager.clone();
        let response = invocation.invoke_async::<(u8, u32, u64)>(&mut manager);
        let Ok(response) = tokio::time::timeout(CHECK_TIMEOUT, response).await else {
            return Err(RedisError::from((redis::ErrorKind::Io, NO_RESPONSE)));
        };
        let (is_allowed, remaining, wait) = response?;
        Ok(RateLimitState {
            is_allowed: is_allowed == 1,
            remaining,
            retry_after: Duration::from_micros(wait),
        })
    }
}

#[async_trait]
impl RateLimiter for RedisLimiter {
    async fn check(&self, key: RateLimitKey, limit: RateLimit, cost: u32) -> RateLimitState {
        if self.elapsed_millis() < self.retry_at.load(Ordering::Relaxed) {
            return self.fallback.check(key, limit, cost).await;
        }
        match self.check_in_redis(key, limit, cost).await {
            Ok(state) => {
                if self.is_down.swap(false, Ordering::Relaxed) {
                    tracing::info!("Redis responds again, rate limits are shared by all processes");
                }
                state
            }
            Err(error) => {
                let retry_at = self.elapsed_millis().saturating_add(millis(RETRY_DELAY));
                self.retry_at.store(retry_at, Ordering::Relaxed);
                if !self.is_down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "Redis does not respond, rate limits are not shared until it does");
                }
                self.fallback.check(key, limit, cost).await
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Checks that the Redis at `url` responds within `timeout`. Returns the reason if it does not.
pub async fn ping(url: &str, timeout: Duration) -> Result<(), String> {
    let response = async {
        let client = Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await
    };
    let response = tokio::time::timeout(timeout, response).await.map_err(|_| NO_RESPONSE)?;
    response.map_err(|error| error.to_string())
}
