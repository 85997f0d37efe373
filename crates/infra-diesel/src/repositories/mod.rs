//! The repositories, for both databases.

mod accounts;
pub(crate) mod blocks;
pub(crate) mod comments;
mod follows;
mod health;
mod maintenance;
mod media;
pub(crate) mod notifications;
mod outbox;
pub(crate) mod posts;
mod sessions;

use chrono::{DateTime, Utc};
use domain::page::{PageRequest, Position};

use crate::{db::Db, sql::row::row};

/// Implements every repository port.
pub(crate) struct Repositories {
    pub(crate) db: Db,
}

row! {
    /// A single number.
    pub(crate) struct NumberRow {
        pub(crate) value: i64,
    }
}

row! {
    /// A single text.
    struct TextRow {
        value: String,
    }
}

/// Later than everything.
pub(crate) const FAR_FUTURE: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(moment) => moment,
    None => DateTime::<Utc>::MAX_UTC,
};

/// Where a page begins: lists run from here downwards. The first page needs no query of its own.
fn upper_bound(page: PageRequest) -> Position {
    page.after().unwrap_or(Position { at: FAR_FUTURE, id: i64::MAX })
}
