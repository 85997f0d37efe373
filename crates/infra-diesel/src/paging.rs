//! Where the pages of lists begin.

use chrono::{DateTime, Utc};
use domain::page::{PageRequest, Position};

/// Later than every timestamp in the database: the end of the year 9999.
pub(crate) const FAR_FUTURE: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(at) => at,
    None => DateTime::<Utc>::MAX_UTC,
};

/// Returns the position below which a page lies: lists run downwards. The first page lies below `FAR_FUTURE`, so it needs
/// no query of its own.
pub(crate) fn upper_bound(page: PageRequest) -> Position {
    page.after().unwrap_or(Position { at: FAR_FUTURE, id: i64::MAX })
}
