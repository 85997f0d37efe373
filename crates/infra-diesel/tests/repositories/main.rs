//! Every sentence of the repository ports, on PostgreSQL and on SQLite.

#![allow(clippy::unwrap_used, clippy::cast_possible_wrap)] // a test may panic anywhere, and counts little
#![allow(clippy::disallowed_methods)] // a test may read the system's time

mod accounts;
mod blocks;
mod deeds;
mod groups;
mod growth;
mod helpers;
mod lanes;
mod lists;
mod locked_rows;
mod maintenance;
mod replica;
mod schema;
mod sessions;
mod workers;
