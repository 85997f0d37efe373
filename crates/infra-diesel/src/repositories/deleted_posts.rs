//! What deleted posts leave behind: likes, comments and notifications, which are removed in steps.
//!
//! A step is a transaction of bounded length, and counters are changed by the step that removes the rows. A trigger of
//! `posts` remembers each deleted post, so that a crash between two steps leaves nothing.

use diesel::{ExpressionMethods as _, QueryDsl as _};
use domain::users::UserId;

use crate::{
    connection::Connection,
    counters::{lock_notifications, subtract_notifications},
    error::DbError,
    schema::{comments, deleted_posts, likes, notifications},
    sql::row_lock::Locked,
};

/// Maximum number of rows of a table that one step removes: a few tens of milliseconds on either database.
pub(crate) const MAX_STEP: i64 = 1_000;

/// Removes some rows of any deleted post. Returns whether there was one.
pub(crate) async fn remove_some(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    let any = deleted_posts::table
        .select((deleted_posts::post_id, deleted_posts::author_id))
        .order(deleted_posts::post_id)
        .limit(1);
    // Another process may remove the same rows. The second waits, and finds what is left, or nothing.
    let Some((post, author)) = tx.first::<(i64, i64), _>(Locked(any)).await? else { return Ok(false) };
    remove_some_of(tx, post, UserId(author)).await?;
    Ok(true)
}

/// Removes some rows of a deleted post, and forgets it if that were all. Its author is the recipient of all its
/// notifications.
pub(crate) async fn remove_some_of(
    tx: &mut Connection<'_>,
    post: i64,
    author: UserId,
) -> Result<(), DbError> {
    // The counters before the notifications themselves, in the order of all transactions.
    lock_notifications(tx, author).await?;
    let some = diesel::alias!(notifications as some_notifications);
    let some = some
        .filter(some.field(notifications::post_id).eq(post))
        .limit(MAX_STEP)
        .select(some.field(notifications::id));
    let remove = diesel::delete(notifications::table)
        .filter(notifications::id.eq_any(some))
        .returning(notifications::is_read);
    let removed: Vec<bool> = tx.load(remove).await?;
    let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
    let unread = count(removed.iter().filter(|is_read| !**is_read).count());
    let removed = count(removed.len());
    if removed > 0 {
        subtract_notifications(tx, author, removed, unread).await?;
    }

    let some = diesel::alias!(likes as some_likes);
    let some =
        some.filter(some.field(likes::post_id).eq(post)).limit(MAX_STEP).select(some.field(likes::user_id));
    let remove =
        diesel::delete(likes::table).filter(likes::post_id.eq(post)).filter(likes::user_id.eq_any(some));
    let removed_likes = tx.execute(remove).await?;

    let some = diesel::alias!(comments as some_comments);
    let some =
        some.filter(some.field(comments::post_id).eq(post)).limit(MAX_STEP).select(some.field(comments::id));
    let removed_comments =
        tx.execute(diesel::delete(comments::table).filter(comments::id.eq_any(some))).await?;

    if [removed, removed_likes, removed_comments].iter().all(|rows| *rows < MAX_STEP) {
        tx.execute(diesel::delete(deleted_posts::table.find(post))).await?;
    }
    Ok(())
}
