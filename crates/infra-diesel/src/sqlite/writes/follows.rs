//! Follows.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _, dsl, sql_types::Bool};
use domain::{
    follows::{Follow, Unfollow},
    notifications::Activity,
    users::UserId,
};

use super::notify;
use crate::{
    connection::Connection,
    counters::{DELETED, delete_notification},
    error::DbError,
    schema::{Timestamp, follows, notifications, user_counters, users},
};

async fn exists(tx: &mut Connection<'_>, user: UserId) -> Result<bool, DbError> {
    let query =
        users::table.find(user.0).filter(users::is_active).filter(users::is_verified).select(users::id);
    Ok(tx.first::<i64, _>(query).await?.is_some())
}

/// Adds `more` to the counters of both users.
async fn count_follow(
    tx: &mut Connection<'_>,
    follower: UserId,
    followee: UserId,
    more: i64,
) -> Result<(), DbError> {
    let count = diesel::update(user_counters::table.find(follower.0))
        .set(user_counters::following.eq(user_counters::following + more));
    tx.execute(count).await?;
    let count = diesel::update(user_counters::table.find(followee.0))
        .set(user_counters::followers.eq(user_counters::followers + more));
    tx.execute(count).await?;
    Ok(())
}

/// Follows a user. Returns `None` if the followee does not exist.
pub(crate) async fn follow(
    tx: &mut Connection<'_>,
    follower: UserId,
    followee: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Follow>, DbError> {
    if !exists(tx, followee).await? {
        return Ok(None);
    }
    let insert = diesel::insert_into(follows::table)
        .values((
            follows::follower_id.eq(follower.0),
            follows::followee_id.eq(followee.0),
            follows::created_at.eq(Timestamp(at)),
        ))
        .on_conflict_do_nothing();
    if tx.execute(insert).await? == 0 {
        return Ok(Some(Follow { is_new: false, notification: None }));
    }
    count_follow(tx, follower, followee, 1).await?;
    let notification = notify(tx, followee, follower, Activity::Follow, at).await?;
    Ok(Some(Follow { is_new: true, notification }))
}

/// Unfollows a user. Returns `None` if the followee does not exist.
pub(crate) async fn unfollow(
    tx: &mut Connection<'_>,
    follower: UserId,
    followee: UserId,
) -> Result<Option<Unfollow>, DbError> {
    if !exists(tx, followee).await? {
        return Ok(None);
    }
    if tx.execute(diesel::delete(follows::table.find((follower.0, followee.0)))).await? == 0 {
        return Ok(Some(Unfollow { was_following: false, removed_notification: None }));
    }
    count_follow(tx, follower, followee, -1).await?;
    let remove = diesel::delete(notifications::table)
        .filter(notifications::recipient_id.eq(followee.0))
        .filter(notifications::actor_id.eq(follower.0))
        // Not a bind: the index has this condition.
        .filter(dsl::sql::<Bool>("kind = 'follow'"))
        .returning(DELETED);
    let removed_notification = delete_notification(tx, remove).await?;
    Ok(Some(Unfollow { was_following: true, removed_notification }))
}
