//! The repositories on PostgreSQL and SQLite, with Diesel.
//!
//! - [`connect`] opens a database and returns [`Database`]: every repository port of `domain`, implemented once for both
//!   databases. [`Database::for_worker`] gives an HTTP worker its own share of the connections.
//! - [`migrate`], [`schema_state`], [`clock`] and [`is_replica`] serve the commands that prepare and check a database.
//! - [`ToolConnection`] executes any SQL, for development tools.
//!
//! Inside, a port's queries are in `repositories/`, one file a noun, against the tables of `schema`. They run on
//! `Connection`, an enum over the two databases; `Db` decides which connection that is. Writes of several rows in one
//! statement are in `postgres/writes/`, and their counterparts in `sqlite/writes/`.

mod admin;
mod comment_row;
mod config;
mod connection;
mod counters;
mod database;
mod db;
mod error;
mod feed_index;
mod migrations;
mod paging;
mod post_row;
mod postgres;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may panic anywhere
mod prepare_tests;
mod repositories;
mod schema;
mod sql;
mod sqlite;
mod tool;
mod user_cards;
mod visibility;

pub use admin::{clock, is_replica, migrate, schema_state};
pub use config::{DatabaseConfig, DatabaseUrl, PoolState};
pub use database::{Database, connect};
pub use error::DatabaseError;
pub use migrations::{Migration, SchemaState};
pub use tool::ToolConnection;
