//! Deeds on PostgreSQL: each is one statement, one round trip, with its counters and its notification.
//!
//! The parts of such a statement see one snapshot and reach each other by `RETURNING`. Locks are taken in one
//! order: the post, then the rows of `user_counters` by user, so that no two deeds wait for each other. The id of a
//! notification is taken from rows that the update of the recipient's counters returned, that is under their lock.

use chrono::{DateTime, Utc};
use diesel_async::AsyncConnectionCore;
use domain::{
    comments::{AddedComment, NewComment},
    follows::{Follow, Unfollow},
    notifications::{NotificationId, Withdrawn},
    posts::{Like, NewPost, PostId, PostView, Unlike},
    users::UserId,
};

use super::{
    Connection,
    repositories::{
        comments::CommentRow,
        notifications::NotificationRow,
        posts::{PostRow, post_columns, visible},
        row::{Backend, Columns, row},
        statement::{Statement, sql},
    },
};
use crate::error::Fault;

/// How many rows count public posts.
const COUNTERS: i32 = 64;

/// The recipient's counters with one more notification; the bind is the moment. It is never older than the last.
macro_rules! one_more {
    () => {
        "notifications = c.notifications + 1, unread = c.unread + 1,
         last_notification_at = greatest(c.last_notification_at, ?)"
    };
}

/// What `told`, the notification just made, shows; the bind is the actor.
macro_rules! told_columns {
    () => {
        "told.id AS notification_id, told.recipient_id, told.actor_id,
         (SELECT username FROM users WHERE id = ?) AS actor_username, told.kind, told.post_id, told.comment_id,
         told.is_read, told.created_at AS notified_at"
    };
}

/// One notification less for the recipient of `untold`, the notification just deleted.
macro_rules! one_less {
    () => {
        "left_over AS (
           UPDATE user_counters c SET notifications = c.notifications - 1,
             unread = c.unread - CASE WHEN untold.is_read THEN 0 ELSE 1 END
           FROM untold WHERE c.user_id = untold.recipient_id
           RETURNING c.user_id AS recipient_id, c.unread, untold.id AS withdrawn_id)"
    };
}

row! {
    struct DoneRow {
        is_done: bool,
        count: i64,
        notification: Option<NotificationRow>,
    }
}

row! {
    struct UndoneRow {
        is_done: bool,
        count: i64,
        withdrawn: Option<WithdrawnRow>,
    }
}

row! {
    struct WithdrawnRow {
        withdrawn_id: i64,
        recipient_id: i64,
        unread: i64,
    }
}

impl From<WithdrawnRow> for Withdrawn {
    fn from(row: WithdrawnRow) -> Self {
        Self {
            recipient: UserId(row.recipient_id),
            id: NotificationId(row.withdrawn_id),
            unread_count: row.unread,
        }
    }
}

row! {
    struct AddedRow {
        comment: CommentRow,
        notification: Option<NotificationRow>,
    }
}

/// Counts posts of an author, some of them private, in what comes before a statement. The binds: how many, how many of
/// them are private, whose; how many are public, the row that they are counted in, and how many are public once more.
/// Whoever counts does it by this text, for nothing else says which of the two rows is locked first.
macro_rules! counting {
    () => {
        "counted AS (
           UPDATE user_counters SET posts = posts + ?, private_posts = private_posts + ? WHERE user_id = ?
         ), published AS (
           UPDATE public_post_counters SET posts = posts + ? WHERE shard = ? AND ? <> 0
         )"
    };
}

/// One of the rows whose sum is the number of public posts. Any will do: those who count at once seldom take the same.
fn counter() -> i32 {
    rand::random_range(0..COUNTERS)
}

pub(super) async fn count(
    tx: &mut Connection,
    author: UserId,
    posts: i64,
    private: i64,
) -> Result<(), Fault> {
    let public = posts - private;
    sql!(concat!("WITH ", counting!(), " SELECT 1"), posts, private, author.0, public, counter(), public)
        .execute(tx)
        .await?;
    Ok(())
}

/// Stores a post with its counters; nobody can like it yet. What is in the quotes comes in between.
macro_rules! publishing {
    ($more:literal) => {
        concat!(
            "WITH p AS (
               INSERT INTO posts (user_id, content, media_key, media_url, is_private, created_at)
               VALUES (?, ?, ?, ?, ?, ?) RETURNING *
             ), ",
            counting!(),
            $more,
            " SELECT ",
            post_columns!("false"),
            " FROM p JOIN users u ON u.id = p.user_id"
        )
    };
}

pub(super) async fn publish<C: AsyncConnectionCore<Backend = Backend>>(
    conn: &mut C,
    new: NewPost,
) -> Result<Option<PostView>, Fault> {
    let (author, is_private) = (new.author.0, new.is_private);
    let (key, url) = new.media.map_or((None, None), |media| (Some(media.key.0), media.url));
    let has_media = key.is_some();
    let content = new.content.as_ref().map(|content| content.as_str().to_owned());
    macro_rules! statement {
        ($more:literal) => {
            sql!(
                publishing!($more),
                author,
                content,
                key,
                url,
                is_private,
                new.at,
                1_i64,
                i64::from(is_private),
                author,
                i64::from(!is_private),
                counter(),
                i64::from(!is_private)
            )
        };
    }
    let row = if has_media {
        statement!(", settled AS (DELETE FROM media_deletions d USING p WHERE d.media_key = p.media_key)")
    } else {
        statement!("")
    };
    Ok(row.first::<PostRow, _>(conn).await?.map(PostView::from))
}

pub(super) async fn like<C: AsyncConnectionCore<Backend = Backend>>(
    conn: &mut C,
    post: PostId,
    user: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Like>, Fault> {
    let row = sql!(
        concat!(
            "WITH target AS (
               SELECT p.id, p.user_id, p.likes_count FROM posts p WHERE p.id = ? AND ",
            visible!(),
            " FOR NO KEY UPDATE
             ), fresh AS (
               INSERT INTO likes (post_id, user_id, created_at) SELECT id, ?, ? FROM target
               ON CONFLICT DO NOTHING RETURNING post_id
             ), bumped AS (
               UPDATE posts SET likes_count = posts.likes_count + 1 FROM fresh WHERE posts.id = fresh.post_id
               RETURNING posts.likes_count
             ), box AS (
               UPDATE user_counters c SET ",
            one_more!(),
            "
               FROM fresh, target WHERE c.user_id = target.user_id AND c.user_id <> ?
               RETURNING c.user_id, c.last_notification_at
             ), told AS (
               INSERT INTO notifications (recipient_id, actor_id, kind, post_id, created_at)
               SELECT user_id, ?, 'like', ?, last_notification_at FROM box RETURNING *
             )
             SELECT EXISTS (SELECT 1 FROM fresh) AS is_done,
               coalesce((SELECT likes_count FROM bumped), target.likes_count) AS count, ",
            told_columns!(),
            "
             FROM target LEFT JOIN told ON true"
        ),
        post.0,
        user.0,
        user.0,
        at,
        at,
        user.0,
        user.0,
        post.0,
        user.0
    )
    .first::<DoneRow, _>(conn)
    .await?;
    Ok(row.map(|row| Like {
        is_new: row.is_done,
        likes_count: row.count,
        notification: row.notification.map(Into::into),
    }))
}

pub(super) async fn unlike<C: AsyncConnectionCore<Backend = Backend>>(
    conn: &mut C,
    post: PostId,
    user: UserId,
) -> Result<Option<Unlike>, Fault> {
    let row = sql!(
        concat!(
            "WITH target AS (
               SELECT p.id, p.user_id, p.likes_count FROM posts p WHERE p.id = ? AND ",
            visible!(),
            " FOR NO KEY UPDATE
             ), gone AS (
               DELETE FROM likes USING target WHERE likes.post_id = target.id AND likes.user_id = ?
               RETURNING likes.post_id
             ), bumped AS (
               UPDATE posts SET likes_count = posts.likes_count - 1 FROM gone WHERE posts.id = gone.post_id
               RETURNING posts.likes_count
             ), locked AS (
               SELECT c.user_id FROM user_counters c, target, gone WHERE c.user_id = target.user_id
               FOR NO KEY UPDATE OF c
             ), untold AS (
               DELETE FROM notifications n USING locked
               WHERE n.post_id = ? AND n.actor_id = ? AND coalesce(n.comment_id, 0) = 0
                 AND n.recipient_id = locked.user_id
               RETURNING n.id, n.recipient_id, n.is_read
             ), ",
            one_less!(),
            "
             SELECT EXISTS (SELECT 1 FROM gone) AS is_done,
               coalesce((SELECT likes_count FROM bumped), target.likes_count) AS count,
               left_over.withdrawn_id, left_over.recipient_id, left_over.unread
             FROM target LEFT JOIN left_over ON true"
        ),
        post.0,
        user.0,
        user.0,
        post.0,
        user.0
    )
    .first::<UndoneRow, _>(conn)
    .await?;
    Ok(row.map(|row| Unlike {
        was_liked: row.is_done,
        likes_count: row.count,
        withdrawn: row.withdrawn.map(Into::into),
    }))
}

pub(super) async fn comment<C: AsyncConnectionCore<Backend = Backend>>(
    conn: &mut C,
    new: NewComment,
) -> Result<Option<AddedComment>, Fault> {
    let (post, author) = (new.post.0, new.author.0);
    let row = sql!(
        concat!(
            "WITH target AS (
               UPDATE posts p SET comments_count = p.comments_count + 1 WHERE p.id = ? AND ", visible!(), "
               RETURNING p.id, p.user_id
             ), added AS (
               INSERT INTO comments (post_id, user_id, content, created_at) SELECT id, ?, ?, ? FROM target
               RETURNING *
             ), box AS (
               UPDATE user_counters c SET ", one_more!(), "
               FROM target WHERE c.user_id = target.user_id AND c.user_id <> ?
               RETURNING c.user_id, c.last_notification_at
             ), told AS (
               INSERT INTO notifications (recipient_id, actor_id, kind, post_id, comment_id, created_at)
               SELECT box.user_id, ?, 'comment', added.post_id, added.id, box.last_notification_at FROM box, added
               RETURNING *
             )
             SELECT added.id AS added_id, added.post_id AS commented_post, added.user_id AS author_id,
               (SELECT username FROM users WHERE id = ?) AS author_username, added.content,
               added.created_at AS commented_at, added.updated_at, ", told_columns!(), "
             FROM added LEFT JOIN told ON true"
        ),
        post, author, author, new.content.as_str(), new.at, new.at, author, author, author, author
    )
    .first::<AddedRow, _>(conn)
    .await?;
    Ok(row.map(|row| AddedComment {
        comment: row.comment.into(),
        notification: row.notification.map(Into::into),
    }))
}

pub(super) async fn follow<C: AsyncConnectionCore<Backend = Backend>>(
    conn: &mut C,
    follower: UserId,
    followee: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Follow>, Fault> {
    let (mine, theirs) = (follower.0, followee.0);
    let row = sql!(
        concat!(
            "WITH target AS (
               SELECT id FROM users WHERE id = ? AND is_active AND is_verified
             ), locked AS (
               SELECT user_id FROM user_counters WHERE user_id IN (?, ?) AND EXISTS (SELECT 1 FROM target)
               ORDER BY user_id FOR NO KEY UPDATE
             ), fresh AS (
               INSERT INTO follows (follower_id, followee_id, created_at)
               SELECT ?, id, ? FROM target WHERE (SELECT count(*) FROM locked) = 2
               ON CONFLICT DO NOTHING RETURNING followee_id
             ), mine AS (
               UPDATE user_counters c SET following = c.following + 1 FROM fresh WHERE c.user_id = ?
             ), box AS (
               UPDATE user_counters c SET followers = c.followers + 1, ",
            one_more!(),
            "
               FROM fresh WHERE c.user_id = fresh.followee_id RETURNING c.user_id, c.last_notification_at
             ), told AS (
               INSERT INTO notifications (recipient_id, actor_id, kind, created_at)
               SELECT user_id, ?, 'follow', last_notification_at FROM box RETURNING *
             )
             SELECT EXISTS (SELECT 1 FROM fresh) AS is_done, CAST(0 AS bigint) AS count, ",
            told_columns!(),
            "
             FROM target LEFT JOIN told ON true"
        ),
        theirs,
        mine,
        theirs,
        mine,
        at,
        mine,
        at,
        mine,
        mine
    )
    .first::<DoneRow, _>(conn)
    .await?;
    Ok(row.map(|row| Follow { is_new: row.is_done, notification: row.notification.map(Into::into) }))
}

pub(super) async fn unfollow<C: AsyncConnectionCore<Backend = Backend>>(
    conn: &mut C,
    follower: UserId,
    followee: UserId,
) -> Result<Option<Unfollow>, Fault> {
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
             ), mine AS (
               UPDATE user_counters c SET following = c.following - 1 FROM gone WHERE c.user_id = ?
             ), untold AS (
               DELETE FROM notifications n USING gone
               WHERE n.recipient_id = gone.followee_id AND n.actor_id = ? AND n.kind = 'follow'
               RETURNING n.id, n.recipient_id, n.is_read
             ), left_over AS (
               UPDATE user_counters c SET followers = c.followers - 1,
                 notifications = c.notifications - (SELECT count(*) FROM untold),
                 unread = c.unread - (SELECT count(*) FROM untold WHERE NOT is_read)
               FROM gone WHERE c.user_id = gone.followee_id
               RETURNING c.user_id AS recipient_id, c.unread, (SELECT id FROM untold) AS withdrawn_id
             )
             SELECT EXISTS (SELECT 1 FROM gone) AS is_done, CAST(0 AS bigint) AS count,
               left_over.withdrawn_id, left_over.recipient_id, left_over.unread
             FROM target LEFT JOIN left_over ON true",
        theirs,
        mine,
        theirs,
        mine,
        mine,
        mine
    )
    .first::<UndoneRow, _>(conn)
    .await?;
    Ok(row.map(|row| Unfollow { was_following: row.is_done, withdrawn: row.withdrawn.map(Into::into) }))
}
