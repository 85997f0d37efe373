//! Likes.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _};
use domain::{
    notifications::Activity,
    posts::{Like, PostId, Unlike},
    users::UserId,
};

use super::notify;
use crate::{
    connection::Connection,
    counters::{DELETED, comment_or_zero, delete_notification},
    error::DbError,
    schema::{Timestamp, likes, notifications, posts},
    visibility::visible_to,
};

/// Returns the author and the like count of the post if the viewer may see it.
async fn find_target(
    tx: &mut Connection<'_>,
    post: PostId,
    viewer: UserId,
) -> Result<Option<(UserId, i64)>, DbError> {
    let query =
        posts::table.find(post.0).filter(visible_to(viewer)).select((posts::user_id, posts::likes_count));
    let row: Option<(i64, i64)> = tx.first(query).await?;
    Ok(row.map(|(author, likes_count)| (UserId(author), likes_count)))
}

async fn count_likes(tx: &mut Connection<'_>, post: PostId, more: i64) -> Result<(), DbError> {
    let count =
        diesel::update(posts::table.find(post.0)).set(posts::likes_count.eq(posts::likes_count + more));
    tx.execute(count).await?;
    Ok(())
}

/// Likes a post. Returns `None` if the user may not see it.
pub(crate) async fn like(
    tx: &mut Connection<'_>,
    post: PostId,
    user: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Like>, DbError> {
    let Some((author, likes_count)) = find_target(tx, post, user).await? else { return Ok(None) };
    let insert = diesel::insert_into(likes::table)
        .values((likes::post_id.eq(post.0), likes::user_id.eq(user.0), likes::created_at.eq(Timestamp(at))))
        .on_conflict_do_nothing();
    if tx.execute(insert).await? == 0 {
        return Ok(Some(Like { is_new: false, likes_count, notification: None }));
    }
    count_likes(tx, post, 1).await?;
    let notification = notify(tx, author, user, Activity::Like(post), at).await?;
    Ok(Some(Like { is_new: true, likes_count: likes_count + 1, notification }))
}

/// Removes a like. Returns `None` if the user may not see the post.
pub(crate) async fn unlike(
    tx: &mut Connection<'_>,
    post: PostId,
    user: UserId,
) -> Result<Option<Unlike>, DbError> {
    let Some((_, likes_count)) = find_target(tx, post, user).await? else { return Ok(None) };
    if tx.execute(diesel::delete(likes::table.find((post.0, user.0)))).await? == 0 {
        return Ok(Some(Unlike { was_liked: false, likes_count, removed_notification: None }));
    }
    count_likes(tx, post, -1).await?;
    let remove = diesel::delete(notifications::table)
        .filter(notifications::post_id.eq(post.0))
        .filter(notifications::actor_id.eq(user.0))
        .filter(comment_or_zero().eq(0))
        .returning(DELETED);
    let removed_notification = delete_notification(tx, remove).await?;
    Ok(Some(Unlike { was_liked: true, likes_count: likes_count - 1, removed_notification }))
}
