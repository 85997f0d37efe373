//! Writes of several statements each, which the writer executes as one transaction. There is no network, so nothing is
//! gained by fewer statements.

pub(crate) mod comments;
pub(crate) mod follows;
pub(crate) mod likes;
pub(crate) mod posts;

use chrono::{DateTime, Utc};
use domain::{
    notifications::{Activity, NotificationView},
    posts::PostId,
    users::UserId,
};

use crate::{
    connection::Connection,
    error::DbError,
    repositories::notifications::NotificationRow,
    sql::{
        row::row,
        statement::{Statement, sql},
    },
    visibility::visible,
};

row! {
    struct TargetRow {
        user_id: i64,
        likes_count: i64,
    }
}

/// Returns the post if the viewer may see it.
async fn target(tx: &mut Connection<'_>, post: PostId, viewer: UserId) -> Result<Option<TargetRow>, DbError> {
    sql!(
        concat!("SELECT p.user_id, p.likes_count FROM posts p WHERE p.id = ? AND ", visible!()),
        post.0,
        viewer.0
    )
    .first(tx)
    .await
}

/// Stores and counts a notification, unless the actor is the recipient. It is never older than the recipient's last one.
async fn notify(
    tx: &mut Connection<'_>,
    recipient: UserId,
    actor: UserId,
    activity: Activity,
    at: DateTime<Utc>,
) -> Result<Option<NotificationView>, DbError> {
    if recipient == actor {
        return Ok(None);
    }
    sql!(
        "UPDATE user_counters SET notifications = notifications + 1, unread = unread + 1,
           last_notification_at = max(last_notification_at, ?) WHERE user_id = ?",
        at,
        recipient.0
    )
    .execute(tx)
    .await?;
    let notified = sql!(
        "INSERT INTO notifications (recipient_id, actor_id, kind, post_id, comment_id, actor_name, created_at)
         VALUES (?, ?, ?, ?, ?, (SELECT username FROM users WHERE id = ?),
           (SELECT last_notification_at FROM user_counters WHERE user_id = ?))
         RETURNING id AS notification_id, recipient_id, actor_id, actor_name AS actor_username, kind, post_id, comment_id, is_read,
           created_at AS notified_at",
        recipient.0, actor.0, activity.kind(), activity.post().map(|post| post.0), activity.comment().map(|comment| comment.0),
        actor.0, recipient.0
    );
    Ok(notified.first::<NotificationRow>(tx).await?.map(Into::into))
}

/// Adds to the counters of an author's posts, some of which are private.
pub(crate) async fn count(
    tx: &mut Connection<'_>,
    author: UserId,
    posts: i64,
    private: i64,
) -> Result<(), DbError> {
    sql!(
        "UPDATE user_counters SET posts = posts + ?, private_posts = private_posts + ? WHERE user_id = ?",
        posts,
        private,
        author.0
    )
    .execute(tx)
    .await?;
    sql!("UPDATE public_post_counters SET posts = posts + ? WHERE shard = 0", posts - private)
        .execute(tx)
        .await?;
    Ok(())
}
