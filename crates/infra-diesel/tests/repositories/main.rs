//! Every promise of the repository ports, on PostgreSQL and on SQLite.

#![allow(clippy::unwrap_used, clippy::cast_possible_wrap)] // a test may panic anywhere, and its counts are small
#![allow(clippy::disallowed_methods)] // a test may read the system's time

mod accounts;
mod actions;
mod batches;
mod deleted_posts;
mod feed_index;
mod full_disk;
mod health;
mod helpers;
mod lists;
mod locked_rows;
mod media;
mod pipelines;
mod replica;
mod rows_read;
mod schema;
mod servers;
mod sessions;
mod workers;
