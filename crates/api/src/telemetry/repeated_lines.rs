//! Bounds the log lines that any client can cause without limit: those of health checks, and of requests that a limit
//! refused.

use std::{
    num::NonZeroU32,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

const LINES_PER_SECOND: u32 = 20;
const BURST: u32 = 200;

static LIMITER: LazyLock<DefaultDirectRateLimiter> = LazyLock::new(|| {
    let [rate, burst] =
        [LINES_PER_SECOND, BURST].map(|count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
    RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
});
static OMITTED: AtomicU64 = AtomicU64::new(0);

/// Returns whether another such line may be written. A line that may not is counted.
pub(crate) fn may_log_repeated_line() -> bool {
    let may_log = LIMITER.check().is_ok();
    if !may_log {
        OMITTED.fetch_add(1, Ordering::Relaxed);
    }
    may_log
}

/// Returns the number of lines that were omitted since the start.
pub(super) fn omitted_lines() -> u64 {
    OMITTED.load(Ordering::Relaxed)
}
