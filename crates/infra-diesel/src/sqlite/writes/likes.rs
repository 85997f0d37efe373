//! Likes.

use chrono::{DateTime, Utc};
use domain::{
    notifications::Activity,
    posts::{Like, PostId, Unlike},
    users::UserId,
};

use super::{notify, target};
use crate::{
    connection::Connection,
    error::DbError,
    repositories::comments::{GoneRow, removed},
    sql::statement::{Statement, sql},
};

pub(crate) async fn like(
    tx: &mut Connection<'_>,
    post: PostId,
    user: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Like>, DbError> {
    let Some(target) = target(tx, post, user).await? else { return Ok(None) };
    let inserted = sql!(
        "INSERT INTO likes (post_id, user_id, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        post.0,
        user.0,
        at
    );
    if inserted.execute(tx).await? == 0 {
        return Ok(Some(Like { is_new: false, likes_count: target.likes_count, notification: None }));
    }
    sql!("UPDATE posts SET likes_count = likes_count + 1 WHERE id = ?", post.0).execute(tx).await?;
    let notification = notify(tx, UserId(target.user_id), user, Activity::Like(post), at).await?;
    Ok(Some(Like { is_new: true, likes_count: target.likes_count + 1, notification }))
}

pub(crate) async fn unlike(
    tx: &mut Connection<'_>,
    post: PostId,
    user: UserId,
) -> Result<Option<Unlike>, DbError> {
    let Some(target) = target(tx, post, user).await? else { return Ok(None) };
    let deleted = sql!("DELETE FROM likes WHERE post_id = ? AND user_id = ?", post.0, user.0);
    if deleted.execute(tx).await? == 0 {
        return Ok(Some(Unlike {
            was_liked: false,
            likes_count: target.likes_count,
            removed_notification: None,
        }));
    }
    sql!("UPDATE posts SET likes_count = likes_count - 1 WHERE id = ?", post.0).execute(tx).await?;
    let notified = sql!(
        "DELETE FROM notifications WHERE post_id = ? AND actor_id = ? AND coalesce(comment_id, 0) = 0
     RETURNING id, recipient_id, is_read",
        post.0,
        user.0
    )
    .first::<GoneRow>(tx)
    .await?;
    let removed = match &notified {
        Some(notified) => Some(removed(tx, notified).await?),
        None => None,
    };
    Ok(Some(Unlike { was_liked: true, likes_count: target.likes_count - 1, removed_notification: removed }))
}
