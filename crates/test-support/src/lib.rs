//! Finds or starts PostgreSQL and Redis for the tests, gives each test a database of its own, makes media files, and
//! stands in for Cloudinary.
//!
//! Nothing has to run or be set: a server is looked for in the environment (`TEST_DATABASE_URL`,
//! `TEST_REDIS_URL`), then on its default port of this machine; else one is started for this test process, from
//! programs that are installed or in Docker, and ends with it.

#![allow(clippy::disallowed_methods)] // a test may read the system's time

pub mod cloudinary;
mod cluster;
mod database;
pub use media_sanitizer::testing as media;
mod postgres;
mod redis;
pub mod seeds;
pub mod socketio;
mod tables;
mod throwaway;

pub use cluster::Cluster;
pub use database::TestDatabase;
pub use postgres::postgres_url;
pub use redis::{OwnRedis, redis_url};
pub use test_macros::database_test;
pub use throwaway::quiet_port;

/// Says that a test was not made, and why, past the test runner, which shows nothing of what tests print that pass.
pub fn not_tested(why: &str) {
    use std::io::Write as _;
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {test}: {why}");
}
