//! Counters that are kept beside the rows that they count.

use diesel::{ExpressionMethods as _, QueryDsl as _, dsl, expression::SqlLiteral, sql_types::BigInt};
use domain::{
    notifications::{NotificationId, NotificationRemoved},
    users::UserId,
};

use crate::{
    connection::{Connection, Select},
    error::DbError,
    schema::{notifications, public_post_counters, user_counters},
    sql::statement::statements,
};

/// The rows over which PostgreSQL spreads the number of public posts, so that concurrent writes seldom update the same
/// one.
const SHARDS: i32 = 64;

pub(crate) fn random_shard() -> i32 {
    rand::random_range(0..SHARDS)
}

statements! {
    // A single round trip.
    Postgres: COUNT_POSTS(i64, i64, i64, i64, i32, i64) =
        "WITH counted AS (
           UPDATE user_counters SET posts = posts + ?, private_posts = private_posts + ? WHERE user_id = ? RETURNING 1
         )
         UPDATE public_post_counters c SET posts = c.posts + ? FROM counted WHERE c.shard = ? AND ? <> 0";
}

/// Adds to the counters of an author's posts, some of which are private.
pub(crate) async fn count_posts(
    tx: &mut Connection<'_>,
    author: UserId,
    posts: i64,
    private: i64,
) -> Result<(), DbError> {
    let public = posts - private;
    if let Connection::Postgres(_) = tx {
        let count = COUNT_POSTS.with((posts, private, author.0, public, random_shard(), public));
        return tx.execute(count).await.map(|_| ());
    }
    let user = diesel::update(user_counters::table.find(author.0)).set((
        user_counters::posts.eq(user_counters::posts + posts),
        user_counters::private_posts.eq(user_counters::private_posts + private),
    ));
    tx.execute(user).await?;
    let all = diesel::update(public_post_counters::table.find(0))
        .set(public_post_counters::posts.eq(public_post_counters::posts + public));
    tx.execute(all).await?;
    Ok(())
}

/// Locks a user's notifications: every transaction does before it changes them, so that no two wait for each other.
pub(crate) async fn lock_notifications(tx: &mut Connection<'_>, recipient: UserId) -> Result<(), DbError> {
    let lock = diesel::update(user_counters::table.find(recipient.0))
        .set(user_counters::unread.eq(user_counters::unread));
    tx.execute(lock).await?;
    Ok(())
}

/// Subtracts from the counters of a user's notifications. Returns how many unread ones are left.
pub(crate) async fn subtract_notifications(
    tx: &mut Connection<'_>,
    recipient: UserId,
    notifications: i64,
    unread: i64,
) -> Result<i64, DbError> {
    let subtract = diesel::update(user_counters::table.find(recipient.0))
        .set((
            user_counters::notifications.eq(user_counters::notifications - notifications),
            user_counters::unread.eq(user_counters::unread - unread),
        ))
        .returning(user_counters::unread);
    Ok(tx.first(subtract).await?.unwrap_or(0))
}

/// What a statement that deletes a notification must return for [`delete_notification`].
pub(crate) const DELETED: (notifications::id, notifications::recipient_id, notifications::is_read) =
    (notifications::id, notifications::recipient_id, notifications::is_read);

/// Deletes a notification and subtracts it from the counters. Returns `None` if there is none.
pub(crate) async fn delete_notification(
    tx: &mut Connection<'_>,
    deletion: impl Select<(i64, i64, bool)>,
) -> Result<Option<NotificationRemoved>, DbError> {
    let Some((id, recipient, was_read)) = tx.first(deletion).await? else { return Ok(None) };
    let (id, recipient) = (NotificationId(id), UserId(recipient));
    let unread_count = subtract_notifications(tx, recipient, 1, i64::from(!was_read)).await?;
    Ok(Some(NotificationRemoved { recipient, id, unread_count }))
}

/// The comment of a notification, or 0, as the unique index has it. With a bind instead of the 0 the index would not serve.
pub(crate) fn comment_or_zero() -> SqlLiteral<BigInt> {
    dsl::sql("coalesce(comment_id, 0)")
}
