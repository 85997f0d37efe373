//! Where the pages of lists begin.

use domain::page::PageRequest;

/// Returns the id below which a page lies: lists run downwards. The first page lies below the largest id, so it needs no
/// query of its own.
pub(crate) fn upper_bound(page: PageRequest) -> i64 {
    page.after().unwrap_or(i64::MAX)
}

/// The condition and order of the part of a table where a column has a value and the id is below a bound; the binds are
/// the value, the value again, and the bound.
///
/// With an equality PostgreSQL could also walk the primary key down to rows of that value. It assumes that they are spread
/// evenly, and reads the whole table where they are old.
macro_rules! below {
    ($column:literal) => {
        concat!($column, " >= ? AND (", $column, ", id) < (?, ?) ORDER BY ", $column, " DESC, id DESC")
    };
}
pub(crate) use below;
