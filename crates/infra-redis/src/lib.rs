//! What several server processes count together, in Redis.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod limiter;

pub use limiter::{RedisLimiter, ping};
