//! Following, one at a time, and no longer.

use chrono::{DateTime, Utc};
use domain::{
    follows::{Follow, Unfollow},
    users::UserId,
};

use super::{RemovedRow, Told, ToldRow};
use crate::{
    connection::Connection,
    error::DbError,
    postgres::database::PostgresDb,
    sql::{
        row::row,
        statement::{Statement, sql},
    },
};

row! {
    struct FollowedRow {
        is_new: bool,
        told: Option<ToldRow>,
    }
}

pub(crate) async fn follow(
    to: &PostgresDb,
    follower: UserId,
    followee: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Follow>, DbError> {
    let (mine, theirs) = (follower.0, followee.0);
    let row = sql!(
        "WITH target AS (
           SELECT f.id, f.username AS followee_name, u.username AS follower_name
           FROM users f JOIN users u ON u.id = ? WHERE f.id = ? AND f.is_active AND f.is_verified
         ), locked AS (
           SELECT user_id FROM user_counters WHERE user_id IN (?, ?) AND EXISTS (SELECT 1 FROM target)
           ORDER BY user_id FOR NO KEY UPDATE
         ), fresh AS (
           INSERT INTO follows (follower_id, followee_id, created_at, follower_name, followee_name)
           SELECT ?, id, ?, follower_name, followee_name FROM target WHERE (SELECT count(*) FROM locked) = 2
           ON CONFLICT DO NOTHING RETURNING followee_id, created_at AS at
         ), counted AS (
           UPDATE user_counters c SET following = c.following + 1 FROM fresh WHERE c.user_id = ?
         ), box AS (
           UPDATE user_counters c SET followers = c.followers + 1, notifications = c.notifications + 1,
             unread = c.unread + 1, last_notification_at = greatest(c.last_notification_at, fresh.at)
           FROM fresh WHERE c.user_id = fresh.followee_id RETURNING c.user_id, c.last_notification_at
         ), told AS (
           INSERT INTO notifications (recipient_id, actor_id, actor_name, kind, created_at)
           SELECT user_id, ?, follower_name, 'follow', last_notification_at FROM box, target
           RETURNING id, recipient_id, actor_name, created_at
         )
         SELECT EXISTS (SELECT 1 FROM fresh) AS is_new, told.id AS told_id, told.recipient_id, told.actor_name,
           told.created_at AS told_at
         FROM target LEFT JOIN told ON true",
        mine,
        theirs,
        mine,
        theirs,
        mine,
        at,
        mine,
        mine
    )
    .first::<FollowedRow>(&mut Connection::Postgres(&*to.pools.get().await?))
    .await?;
    Ok(row.map(|row| Follow {
        is_new: row.is_new,
        notification: row.told.map(|told| told.view(follower, Told::Follow)),
    }))
}

row! {
    struct UnfollowedRow {
        was_following: bool,
        removed: Option<RemovedRow>,
    }
}

pub(crate) async fn unfollow(
    to: &PostgresDb,
    follower: UserId,
    followee: UserId,
) -> Result<Option<Unfollow>, DbError> {
    let (mine, theirs) = (follower.0, followee.0);
    let row = sql!(
        "WITH target AS (
           SELECT id FROM users WHERE id = ? AND is_active AND is_verified
         ), locked AS (
           SELECT user_id FROM user_counters WHERE user_id IN (?, ?) AND EXISTS (SELECT 1 FROM target)
           ORDER BY user_id FOR NO KEY UPDATE
         ), gone AS (
           DELETE FROM follows WHERE follower_id = ? AND followee_id = (SELECT id FROM target)
             AND (SELECT count(*) FROM locked) = 2
           RETURNING followee_id
         ), counted AS (
           UPDATE user_counters c SET following = c.following - 1 FROM gone WHERE c.user_id = ?
         ), untold AS (
           DELETE FROM notifications n USING gone
           WHERE n.recipient_id = gone.followee_id AND n.actor_id = ? AND n.kind = 'follow'
           RETURNING n.id, n.recipient_id, n.is_read
         ), box AS (
           UPDATE user_counters c SET followers = c.followers - 1,
             notifications = c.notifications - (SELECT count(*) FROM untold),
             unread = c.unread - (SELECT count(*) FROM untold WHERE NOT is_read)
           FROM gone WHERE c.user_id = gone.followee_id
           RETURNING c.user_id AS recipient_id, c.unread, (SELECT id FROM untold) AS removed_id
         )
         SELECT EXISTS (SELECT 1 FROM gone) AS was_following, box.removed_id, box.recipient_id, box.unread
         FROM target LEFT JOIN box ON true",
        theirs,
        mine,
        theirs,
        mine,
        mine,
        mine
    )
    .first::<UnfollowedRow>(&mut Connection::Postgres(&*to.pools.get().await?))
    .await?;
    Ok(row.map(|row| Unfollow {
        was_following: row.was_following,
        removed_notification: row.removed.map(Into::into),
    }))
}
