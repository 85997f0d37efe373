//! Rate limits shared by several server processes, in Redis.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod limiter;

pub use limiter::{RedisLimiter, ping};
