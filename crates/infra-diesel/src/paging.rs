//! Where the pages of lists begin.

use domain::page::PageRequest;

/// Returns the id below which a page lies: lists run downwards. The first page lies below the largest id, so it needs no
/// query of its own.
pub(crate) fn upper_bound(page: PageRequest) -> i64 {
    page.after().unwrap_or(i64::MAX)
}

/// The condition and order of the posts of a user below an id; the binds are the user, the user again, and the id.
///
/// With an equality PostgreSQL could also walk the primary key down to the posts of that user: it assumes that they are
/// spread evenly, and reads the whole table where they are old. A comparison of pairs only suits the user's index. SQLite
/// compares no pairs in an index, and prefers equalities.
macro_rules! of_user_below {
    (postgres, $bound:literal) => {
        concat!("user_id >= ? AND (user_id, id) < (?, ", $bound, ") ORDER BY user_id DESC, id DESC")
    };
    (sqlite, $bound:literal) => {
        concat!("user_id = ? AND user_id = ? AND id < ", $bound, " ORDER BY id DESC")
    };
}
pub(crate) use of_user_below;
