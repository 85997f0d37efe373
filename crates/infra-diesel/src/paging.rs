//! Where the pages of lists begin.

use domain::page::PageRequest;

/// Returns the id below which a page lies: lists run downwards. The first page lies below the largest id, so it needs no
/// query of its own.
pub(crate) fn upper_bound(page: PageRequest) -> i64 {
    page.after().unwrap_or(i64::MAX)
}

/// The condition of posts below an id; the bind is the id. With its order on PostgreSQL, see [`visible_posts`].
macro_rules! below {
    (postgres, $bound:literal) => {
        concat!("id < ", $bound, " ORDER BY id DESC")
    };
    (sqlite, $bound:literal) => {
        concat!("id < ", $bound)
    };
}
pub(crate) use below;

/// The condition of the posts of a user below an id; the binds are the user, the user again, and the id. With its order on
/// PostgreSQL, see [`visible_posts`].
///
/// With an equality PostgreSQL could also walk the primary key down to the posts of that user: it assumes that they are
/// spread evenly, and reads the whole table where they are old. A comparison of pairs only suits the user's index. SQLite
/// compares no pairs in an index, and prefers equalities.
macro_rules! of_user_below {
    (postgres, $bound:literal) => {
        concat!("user_id >= ? AND (user_id, id) < (?, ", $bound, ") ORDER BY user_id DESC, id DESC")
    };
    (sqlite, $bound:literal) => {
        concat!("user_id = ? AND user_id = ? AND id < ", $bound)
    };
}
pub(crate) use of_user_below;

/// The posts that a viewer sees, newest first: public ones and the viewer's private ones are two ordered index scans that are
/// merged, so that private posts of others are never read.
///
/// SQLite merges the parts row by row if they have no order and limit of their own. PostgreSQL plans each part by itself, so
/// each has both; `$limit` is how many rows of a part are needed.
macro_rules! visible_posts {
    (postgres, $columns:literal, $public:expr, $private:expr, $limit:literal) => {
        concat!(
            "SELECT * FROM (SELECT ",
            $columns,
            " FROM posts WHERE NOT is_private AND ",
            $public,
            " LIMIT ",
            $limit,
            ") AS public UNION ALL SELECT * FROM (SELECT ",
            $columns,
            " FROM posts WHERE is_private AND ",
            $private,
            " LIMIT ",
            $limit,
            ") AS private ORDER BY id DESC"
        )
    };
    (sqlite, $columns:literal, $public:expr, $private:expr, $limit:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM posts WHERE NOT is_private AND ",
            $public,
            " UNION ALL SELECT ",
            $columns,
            " FROM posts WHERE is_private AND ",
            $private,
            " ORDER BY id DESC"
        )
    };
}
pub(crate) use visible_posts;
