//! Deeds on SQLite: several statements each, in a transaction of the writer's. There is no network to save
//! round trips on.

use chrono::{DateTime, Utc};
use domain::{
    comments::{AddedComment, NewComment},
    follows::{Follow, Unfollow},
    notifications::{Activity, NotificationView},
    posts::{Like, NewPost, PostId, PostView, Unlike},
    users::UserId,
};

use super::database::SqliteDb;
use crate::{
    connection::Connection,
    error::DbError,
    repositories::{
        NumberRow,
        comments::{CommentRow, GoneRow, removed},
        notifications::NotificationRow,
        posts::{attach, find},
    },
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

async fn target(tx: &mut Connection<'_>, post: PostId, viewer: UserId) -> Result<Option<TargetRow>, DbError> {
    sql!(
        concat!("SELECT p.user_id, p.likes_count FROM posts p WHERE p.id = ? AND ", visible!()),
        post.0,
        viewer.0
    )
    .first(tx)
    .await
}

async fn exists(tx: &mut Connection<'_>, user: UserId) -> Result<bool, DbError> {
    let found = sql!("SELECT id AS value FROM users WHERE id = ? AND is_active AND is_verified", user.0);
    Ok(found.first::<NumberRow>(tx).await?.is_some())
}

/// Stores and counts a notification; it is never older than the recipient's last. None of one's own deeds.
async fn tell(
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
    let told = sql!(
        "INSERT INTO notifications (recipient_id, actor_id, kind, post_id, comment_id, actor_name, created_at)
         VALUES (?, ?, ?, ?, ?, (SELECT username FROM users WHERE id = ?),
           (SELECT last_notification_at FROM user_counters WHERE user_id = ?))
         RETURNING id AS notification_id, recipient_id, actor_id, actor_name AS actor_username, kind, post_id, comment_id, is_read,
           created_at AS notified_at",
        recipient.0, actor.0, activity.kind(), activity.post().map(|post| post.0), activity.comment().map(|comment| comment.0),
        actor.0, recipient.0
    );
    Ok(told.first::<NotificationRow>(tx).await?.map(Into::into))
}

/// Counts posts of an author, some of them private.
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

pub(crate) async fn publish(to: &SqliteDb, new: NewPost) -> Result<Option<PostView>, DbError> {
    to.writer
        .run(async move |tx: &mut Connection<'_>| {
            let (key, url) = new.media.clone().map_or((None, None), |media| (Some(media.key.0), media.url));
            let row = sql!(
            "INSERT INTO posts (user_id, author_name, content, media_key, media_url, is_private, created_at)
             VALUES (?, (SELECT username FROM users WHERE id = ?), ?, ?, ?, ?, ?) RETURNING id AS value",
            new.author.0,
            new.author.0,
            new.content.as_ref().map(|content| content.as_str().to_owned()),
            key,
            url,
            new.is_private,
            new.at
        )
            .first::<NumberRow>(tx)
            .await?;
            count(tx, new.author, 1, i64::from(new.is_private)).await?;
            attach(tx, new.media.as_ref()).await?;
            match row {
                Some(row) => find(tx, PostId(row.value), new.author).await,
                None => Ok(None),
            }
        })
        .await
}

pub(crate) async fn like(
    to: &SqliteDb,
    post: PostId,
    user: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Like>, DbError> {
    to.writer
        .run(async move |tx: &mut Connection<'_>| {
            let Some(target) = target(tx, post, user).await? else { return Ok(None) };
            let fresh = sql!(
                "INSERT INTO likes (post_id, user_id, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                post.0,
                user.0,
                at
            );
            if fresh.execute(tx).await? == 0 {
                return Ok(Some(Like { is_new: false, likes_count: target.likes_count, notification: None }));
            }
            sql!("UPDATE posts SET likes_count = likes_count + 1 WHERE id = ?", post.0).execute(tx).await?;
            let notification = tell(tx, UserId(target.user_id), user, Activity::Like(post), at).await?;
            Ok(Some(Like { is_new: true, likes_count: target.likes_count + 1, notification }))
        })
        .await
}

pub(crate) async fn unlike(to: &SqliteDb, post: PostId, user: UserId) -> Result<Option<Unlike>, DbError> {
    to.writer
        .run(async move |tx: &mut Connection<'_>| {
            let Some(target) = target(tx, post, user).await? else { return Ok(None) };
            let gone = sql!("DELETE FROM likes WHERE post_id = ? AND user_id = ?", post.0, user.0);
            if gone.execute(tx).await? == 0 {
                return Ok(Some(Unlike {
                    was_liked: false,
                    likes_count: target.likes_count,
                    removed_notification: None,
                }));
            }
            sql!("UPDATE posts SET likes_count = likes_count - 1 WHERE id = ?", post.0).execute(tx).await?;
            let untold = sql!(
                "DELETE FROM notifications WHERE post_id = ? AND actor_id = ? AND coalesce(comment_id, 0) = 0
         RETURNING id, recipient_id, is_read",
                post.0,
                user.0
            )
            .first::<GoneRow>(tx)
            .await?;
            let removed = match &untold {
                Some(gone) => Some(removed(tx, gone).await?),
                None => None,
            };
            Ok(Some(Unlike {
                was_liked: true,
                likes_count: target.likes_count - 1,
                removed_notification: removed,
            }))
        })
        .await
}

pub(crate) async fn comment(to: &SqliteDb, new: NewComment) -> Result<Option<AddedComment>, DbError> {
    to.writer
        .run(async move |tx: &mut Connection<'_>| {
            let Some(target) = target(tx, new.post, new.author).await? else { return Ok(None) };
            let row = sql!(
                "INSERT INTO comments (post_id, user_id, author_name, content, created_at)
             VALUES (?, ?, (SELECT username FROM users WHERE id = ?), ?, ?)
             RETURNING id AS added_id, post_id AS commented_post, user_id AS author_id,
               author_name AS author_username, content, created_at AS commented_at, updated_at",
                new.post.0,
                new.author.0,
                new.author.0,
                new.content.as_str(),
                new.at
            )
            .first::<CommentRow>(tx)
            .await?;
            let Some(row) = row else { return Ok(None) };
            let comment = domain::comments::CommentView::from(row);
            sql!("UPDATE posts SET comments_count = comments_count + 1 WHERE id = ?", new.post.0)
                .execute(tx)
                .await?;
            let activity = Activity::Comment(new.post, comment.id);
            let notification = tell(tx, UserId(target.user_id), new.author, activity, new.at).await?;
            Ok(Some(AddedComment { comment, notification }))
        })
        .await
}

pub(crate) async fn follow(
    to: &SqliteDb,
    follower: UserId,
    followee: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Follow>, DbError> {
    to.writer.run(async move |tx: &mut Connection<'_>| {
        if !exists(tx, followee).await? {
            return Ok(None);
        }
        let fresh = sql!(
            "INSERT INTO follows (follower_id, followee_id, created_at, follower_name, followee_name)
             VALUES (?, ?, ?, (SELECT username FROM users WHERE id = ?), (SELECT username FROM users WHERE id = ?))
             ON CONFLICT DO NOTHING",
            follower.0,
            followee.0,
            at,
            follower.0,
            followee.0
        );
        if fresh.execute(tx).await? == 0 {
            return Ok(Some(Follow { is_new: false, notification: None }));
        }
        count_follow(tx, follower, followee, 1).await?;
        let notification = tell(tx, followee, follower, Activity::Follow, at).await?;
        Ok(Some(Follow { is_new: true, notification }))
    }).await
}

pub(crate) async fn unfollow(
    to: &SqliteDb,
    follower: UserId,
    followee: UserId,
) -> Result<Option<Unfollow>, DbError> {
    to.writer
        .run(async move |tx: &mut Connection<'_>| {
            if !exists(tx, followee).await? {
                return Ok(None);
            }
            let gone =
                sql!("DELETE FROM follows WHERE follower_id = ? AND followee_id = ?", follower.0, followee.0);
            if gone.execute(tx).await? == 0 {
                return Ok(Some(Unfollow { was_following: false, removed_notification: None }));
            }
            count_follow(tx, follower, followee, -1).await?;
            let untold = sql!(
                "DELETE FROM notifications WHERE recipient_id = ? AND actor_id = ? AND kind = 'follow'
         RETURNING id, recipient_id, is_read",
                followee.0,
                follower.0
            )
            .first::<GoneRow>(tx)
            .await?;
            let removed = match &untold {
                Some(gone) => Some(removed(tx, gone).await?),
                None => None,
            };
            Ok(Some(Unfollow { was_following: true, removed_notification: removed }))
        })
        .await
}

/// Counts `more` follows for both sides.
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
