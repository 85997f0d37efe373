//! Follows.

use chrono::{DateTime, Utc};
use domain::{
    follows::{Follow, Unfollow},
    notifications::Activity,
    users::UserId,
};

use super::notify;
use crate::{
    connection::Connection,
    error::DbError,
    repositories::{
        NumberRow,
        comments::{GoneRow, removed},
    },
    sql::statement::{Statement, sql},
};

async fn exists(tx: &mut Connection<'_>, user: UserId) -> Result<bool, DbError> {
    let found = sql!("SELECT id AS value FROM users WHERE id = ? AND is_active AND is_verified", user.0);
    Ok(found.first::<NumberRow>(tx).await?.is_some())
}

pub(crate) async fn follow(
    tx: &mut Connection<'_>,
    follower: UserId,
    followee: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Follow>, DbError> {
    if !exists(tx, followee).await? {
        return Ok(None);
    }
    let inserted = sql!(
        "INSERT INTO follows (follower_id, followee_id, created_at, follower_name, followee_name)
         VALUES (?, ?, ?, (SELECT username FROM users WHERE id = ?), (SELECT username FROM users WHERE id = ?))
         ON CONFLICT DO NOTHING",
        follower.0,
        followee.0,
        at,
        follower.0,
        followee.0
    );
    if inserted.execute(tx).await? == 0 {
        return Ok(Some(Follow { is_new: false, notification: None }));
    }
    count_follow(tx, follower, followee, 1).await?;
    let notification = notify(tx, followee, follower, Activity::Follow, at).await?;
    Ok(Some(Follow { is_new: true, notification }))
}

pub(crate) async fn unfollow(
    tx: &mut Connection<'_>,
    follower: UserId,
    followee: UserId,
) -> Result<Option<Unfollow>, DbError> {
    if !exists(tx, followee).await? {
        return Ok(None);
    }
    let deleted =
        sql!("DELETE FROM follows WHERE follower_id = ? AND followee_id = ?", follower.0, followee.0);
    if deleted.execute(tx).await? == 0 {
        return Ok(Some(Unfollow { was_following: false, removed_notification: None }));
    }
    count_follow(tx, follower, followee, -1).await?;
    let notified = sql!(
        "DELETE FROM notifications WHERE recipient_id = ? AND actor_id = ? AND kind = 'follow'
     RETURNING id, recipient_id, is_read",
        followee.0,
        follower.0
    )
    .first::<GoneRow>(tx)
    .await?;
    let removed = match &notified {
        Some(notified) => Some(removed(tx, notified).await?),
        None => None,
    };
    Ok(Some(Unfollow { was_following: true, removed_notification: removed }))
}

/// Adds `more` to the counters of both users.
async fn count_follow(
    tx: &mut Connection<'_>,
    follower: UserId,
    followee: UserId,
    more: i64,
) -> Result<(), DbError> {
    sql!("UPDATE user_counters SET following = following + ? WHERE user_id = ?", more, follower.0)
        .execute(tx)
        .await?;
    sql!("UPDATE user_counters SET followers = followers + ? WHERE user_id = ?", more, followee.0)
        .execute(tx)
        .await?;
    Ok(())
}
