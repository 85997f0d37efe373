//! Follows. They are not batched: two of them seldom have a user in common.

use chrono::{DateTime, Utc};
use domain::{
    follows::{Follow, Unfollow},
    notifications::Activity,
    users::UserId,
};

use super::{NotifiedRow, RemovedRow};
use crate::{
    connection::Connection,
    error::DbError,
    sql::{row::row, statement::statements},
};

statements! {
    Postgres: FOLLOW(i64, i64, i64, i64, i64, DateTime<Utc>, i64, i64) = "WITH target AS (
   SELECT f.id, u.username FROM users f JOIN users u ON u.id = ? WHERE f.id = ? AND f.is_active AND f.is_verified
 ), locked AS (
   SELECT user_id FROM user_counters WHERE user_id IN (?, ?) AND EXISTS (SELECT 1 FROM target)
   ORDER BY user_id FOR NO KEY UPDATE
 ), inserted AS (
   INSERT INTO follows (follower_id, followee_id, created_at)
   SELECT ?, id, ? FROM target WHERE (SELECT count(*) FROM locked) = 2
   ON CONFLICT DO NOTHING RETURNING followee_id, created_at AS at
 ), counted AS (
   UPDATE user_counters c SET following = c.following + 1 FROM inserted WHERE c.user_id = ?
 ), recipient AS (
   UPDATE user_counters c SET followers = c.followers + 1, notifications = c.notifications + 1,
     unread = c.unread + 1, last_notification_at = greatest(c.last_notification_at, inserted.at)
   FROM inserted WHERE c.user_id = inserted.followee_id RETURNING c.user_id, c.last_notification_at
 ), notified AS (
   INSERT INTO notifications (recipient_id, actor_id, kind, created_at)
   SELECT user_id, ?, 'follow', last_notification_at FROM recipient
   RETURNING id, recipient_id, created_at
 )
 SELECT EXISTS (SELECT 1 FROM inserted) AS is_new, target.username, notified.id AS notification_id,
   notified.recipient_id, notified.created_at AS notified_at
 FROM target LEFT JOIN notified ON true";
    Postgres: UNFOLLOW(i64, i64, i64, i64, i64, i64) = "WITH target AS (
   SELECT id FROM users WHERE id = ? AND is_active AND is_verified
 ), locked AS (
   SELECT user_id FROM user_counters WHERE user_id IN (?, ?) AND EXISTS (SELECT 1 FROM target)
   ORDER BY user_id FOR NO KEY UPDATE
 ), deleted AS (
   DELETE FROM follows WHERE follower_id = ? AND followee_id = (SELECT id FROM target)
     AND (SELECT count(*) FROM locked) = 2
   RETURNING followee_id
 ), counted AS (
   UPDATE user_counters c SET following = c.following - 1 FROM deleted WHERE c.user_id = ?
 ), removed AS (
   DELETE FROM notifications n USING deleted
   WHERE n.recipient_id = deleted.followee_id AND n.actor_id = ? AND n.kind = 'follow'
   RETURNING n.id, n.recipient_id, n.is_read
 ), recipient AS (
   UPDATE user_counters c SET followers = c.followers - 1,
     notifications = c.notifications - (SELECT count(*) FROM removed),
     unread = c.unread - (SELECT count(*) FROM removed WHERE NOT is_read)
   FROM deleted WHERE c.user_id = deleted.followee_id
   RETURNING c.user_id AS recipient_id, c.unread, (SELECT id FROM removed) AS removed_id
 )
 SELECT EXISTS (SELECT 1 FROM deleted) AS was_following, recipient.removed_id, recipient.recipient_id, recipient.unread
 FROM target LEFT JOIN recipient ON true";
}

row! {
    struct FollowedRow {
        is_new: bool,
        username: String,
        notification: Option<NotifiedRow>,
    }
}

pub(crate) async fn follow(
    conn: &mut Connection<'_>,
    follower: UserId,
    followee: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Follow>, DbError> {
    let (mine, theirs) = (follower.0, followee.0);
    let row =
        FOLLOW.with((mine, theirs, mine, theirs, mine, at, mine, mine)).first::<FollowedRow>(conn).await?;
    Ok(row.map(|row| Follow {
        is_new: row.is_new,
        notification: row
            .notification
            .map(|notified| notified.view(follower, row.username, Activity::Follow)),
    }))
}

row! {
    struct UnfollowedRow {
        was_following: bool,
        removed: Option<RemovedRow>,
    }
}

pub(crate) async fn unfollow(
    conn: &mut Connection<'_>,
    follower: UserId,
    followee: UserId,
) -> Result<Option<Unfollow>, DbError> {
    let (mine, theirs) = (follower.0, followee.0);
    let row = UNFOLLOW.with((theirs, mine, theirs, mine, mine, mine)).first::<UnfollowedRow>(conn).await?;
    Ok(row.map(|row| Unfollow {
        was_following: row.was_following,
        removed_notification: row.removed.map(Into::into),
    }))
}
