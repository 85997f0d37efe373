//! Rows and queries of each noun, for the database of the parent module.

mod accounts;
pub(super) mod blocks;
pub(super) mod comments;
mod follows;
mod maintenance;
mod media;
pub(super) mod notifications;
mod outbox;
pub(super) mod posts;
pub(super) mod row;
pub(super) mod seed;
mod sessions;
pub(super) mod statement;

use chrono::{DateTime, Utc};
use domain::page::{PageRequest, Position};

use super::{Connection, Repositories};
use crate::error::Fault;
use row::{Backend, Columns, row};
use statement::{Statement, sql};

row! {
    struct VersionRow {
        version: String,
    }
}

/// The migrations that the database has; none if nothing was ever migrated.
pub(super) async fn applied_migrations(conn: &mut Connection) -> Result<Vec<String>, Fault> {
    let rows = sql!("SELECT version FROM __diesel_schema_migrations ORDER BY version")
        .load::<VersionRow, _>(conn)
        .await;
    match rows {
        Ok(rows) => Ok(rows.into_iter().map(|row| row.version).collect()),
        Err(Fault(error)) if missing_table(&error) => Ok(Vec::new()),
        Err(fault) => Err(fault),
    }
}

fn missing_table(error: &domain::Error) -> bool {
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    text.contains("no such table") || text.contains("does not exist")
}

row! {
    /// A single number.
    pub(super) struct NumberRow {
        pub(super) value: i64,
    }
}

row! {
    /// A single text.
    struct TextRow {
        value: String,
    }
}

/// Later than everything.
pub(super) const FAR_FUTURE: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(moment) => moment,
    None => DateTime::<Utc>::MAX_UTC,
};

/// Where a page begins: lists run from here downwards. The first page needs no query of its own.
fn upper_bound(page: PageRequest) -> Position {
    page.after().unwrap_or(Position { at: FAR_FUTURE, id: i64::MAX })
}
