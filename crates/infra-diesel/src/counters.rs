//! Counters that are kept beside the rows that they count.

use diesel::{ExpressionMethods as _, QueryDsl as _, dsl, expression::SqlLiteral, sql_types::BigInt};
use domain::{
    notifications::{NotificationId, NotificationRemoved},
    users::UserId,
};

use crate::{
    connection::{Connection, Select},
    error::DbError,
    schema::{notifications, user_counters},
};

/// Adds to the counters of an author's posts, some of which are private.
pub(crate) async fn count_posts(
    tx: &mut Connection<'_>,
    author: UserId,
    posts: i64,
    private: i64,
) -> Result<(), DbError> {
    let count = diesel::update(user_counters::table.find(author.0)).set((
        user_counters::posts.eq(user_counters::posts + posts),
        user_counters::private_posts.eq(user_counters::private_posts + private),
    ));
    tx.execute(count).await?;
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
