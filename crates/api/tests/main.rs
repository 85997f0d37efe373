//! The server as its clients see it, on PostgreSQL and on SQLite. The harness checks every response against the
//! OpenAPI document.
//!
//! One binary, because linking is the slowest step.

#![allow(clippy::unwrap_used)] // a test may panic anywhere
#![allow(clippy::disallowed_methods)] // a test may read the system's time

mod api;
mod contract;
mod harness;
mod resilience;
