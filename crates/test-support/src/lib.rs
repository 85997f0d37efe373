//! Finds or starts PostgreSQL, PgBouncer and Redis for the tests, gives each test its own database, and fakes Cloudinary.
//!
//! Nothing has to be running or configured: the environment (`TEST_DATABASE_URL`, `TEST_REDIS_URL`) can name a server,
//! then its default port on this machine is tried; otherwise one is started from installed programs or in Docker, and
//! stopped with the test process.

#![allow(clippy::disallowed_methods)] // a test may read the system's time

pub mod cloudinary;
mod cluster;
mod database;
pub use media_sanitizer::testing as media;
mod pgbouncer;
mod postgres;
mod redis;
pub mod seeds;
pub mod socketio;
mod tables;
mod throwaway;

pub use cluster::Cluster;
pub use database::TestDatabase;
pub use pgbouncer::PgBouncer;
pub use postgres::postgres_url;
pub use redis::{OwnRedis, redis_url};
pub use test_macros::database_test;
pub use throwaway::quiet_port;

/// Reports on standard error that a test was skipped, and why. The test runner hides the output of tests that pass, so
/// this bypasses it.
pub fn not_tested(why: &str) {
    use std::io::Write as _;
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {test}: {why}");
}
