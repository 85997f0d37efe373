//! The server as its clients see it, on PostgreSQL and on SQLite; every answer is held against the OpenAPI document.

#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod contract;
mod helpers;
mod posts;
mod social;
mod users;
