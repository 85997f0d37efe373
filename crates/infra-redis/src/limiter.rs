//! Limits that hold for all processes together.

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
    rate_limit::{Limit, LimitKey, RateLimitState, RateLimiter},
};
use redis::{
    Client, RedisError, RedisResult, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

/// How long a request waits for Redis at most.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long Redis is left alone after it has not answered.
const REST: Duration = Duration::from_secs(1);

/// The generic cell rate algorithm. A key holds the moment, in microseconds of Redis' own clock, until which what was
/// taken has used the limit up; it goes when that has come. Answers: whether it was taken, how many are left, and how
/// many microseconds to wait.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local interval, quota, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local taken = math.max(tonumber(redis.call('GET', KEYS[1])) or 0, now)
local after = taken + interval * cost
local room = interval * quota
if after - now > room then
    return {0, 0, after - now - room}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {1, math.floor((room - (after - now)) / interval), 0}
",
    )
});

/// Counts in Redis, and in this process alone while Redis does not answer.
pub struct RedisLimiter {
    manager: ConnectionManager,
    prefix: String,
    alone: Arc<dyn RateLimiter>,
    begun: Instant,
    /// Until when Redis is left alone, in milliseconds since the beginning.
    rests_until: AtomicU64,
    is_lost: AtomicBool,
}

impl RedisLimiter {
    /// Counts below `prefix` in the Redis at `url`, which need not be there yet. Has to be called on the runtime that
    /// outlives all callers.
    pub fn new(url: &str, prefix: String, alone: Arc<dyn RateLimiter>) -> Result<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(REST))
            .set_response_timeout(Some(REST))
            .set_max_delay(REST)
            .set_number_of_retries(1);
        let client = Client::open(url).map_err(Error::internal)?;
        let manager = ConnectionManager::new_lazy_with_config(client, config).map_err(Error::internal)?;
        let (rests_until, is_lost) = (AtomicU64::default(), AtomicBool::default());
        Ok(Self { manager, prefix, alone, begun: Instant::now(), rests_until, is_lost })
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn ask(&self, key: LimitKey, limit: Limit, cost: u32) -> RedisResult<RateLimitState> {
        let name = [self.prefix.as_bytes(), &key.0].concat();
        let interval = u64::try_from(limit.interval().as_micros()).unwrap_or(u64::MAX).max(1);
        let mut call = TAKE.prepare_invoke();
        call.key(name).arg(interval).arg(limit.quota).arg(cost);
        let mut manager = self.manager.clone();
        let answer = call.invoke_async::<(u8, u32, u64)>(&mut manager);
        let Ok(answer) = tokio::time::timeout(PATIENCE, answer).await else {
            return Err(RedisError::from((redis::ErrorKind::Io, "no answer in time")));
        };
        let (is_allowed, remaining, wait) = answer?;
        Ok(RateLimitState {
            is_allowed: is_allowed == 1,
            remaining,
            retry_after: Duration::from_micros(wait),
        })
    }
}

#[async_trait]
impl RateLimiter for RedisLimiter {
    async fn take(&self, key: LimitKey, limit: Limit, cost: u32) -> RateLimitState {
        if self.elapsed() < self.rests_until.load(Ordering::Relaxed) {
            return self.alone.take(key, limit, cost).await;
        }
        match self.ask(key, limit, cost).await {
            Ok(state) => {
                if self.is_lost.swap(false, Ordering::Relaxed) {
                    tracing::info!("Redis is back, limits hold for all processes together again");
                }
                state
            }
            Err(error) => {
                let rest = u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
                self.rests_until.store(self.elapsed().saturating_add(rest), Ordering::Relaxed);
                if !self.is_lost.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "Redis does not answer, limits hold for each process until it does");
                }
                self.alone.take(key, limit, cost).await
            }
        }
    }
}

/// Whether the Redis at `url` answers within `patience`; the reason if not.
pub async fn ping(url: &str, patience: Duration) -> Result<(), String> {
    let asked = async {
        let client = Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await
    };
    match tokio::time::timeout(patience, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}
