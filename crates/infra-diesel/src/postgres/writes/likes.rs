//! Likes.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::{
    notifications::Activity,
    posts::{Like, PostId, Unlike},
    users::UserId,
};

use super::{NotifiedRow, RemovedRow, ids, in_order, notify, target};
use crate::{
    postgres::batch::{Batch, LockTimeout},
    schema::Timestamp,
    sql::{
        row::{Decoded, row},
        statement::statements,
    },
    visibility::visible,
};

statements! {
    Postgres: LIKE(Vec<i64>, Vec<i64>, Vec<Timestamp>, Vec<i64>, &'static str) = concat!(
        "WITH input AS (
           SELECT * FROM unnest(?, ?, ?) WITH ORDINALITY AS a(post_id, user_id, at, n)
         ), ", target!(), ", inserted AS (
           INSERT INTO likes (post_id, user_id, created_at)
           SELECT i.post_id, i.user_id, i.at FROM input i JOIN target p ON p.id = i.post_id
           WHERE ", visible!("i.user_id"), "
           ON CONFLICT DO NOTHING RETURNING post_id, user_id, created_at
         ), counted AS (
           UPDATE posts p SET likes_count = p.likes_count + x.more
           FROM (SELECT post_id, count(*) AS more FROM inserted GROUP BY post_id) AS x
           WHERE p.id = x.post_id RETURNING p.id, p.likes_count
         ), event AS (
           SELECT p.user_id AS recipient_id, l.user_id AS actor_id, p.id AS post_id, l.created_at AS at
           FROM inserted l JOIN target p ON p.id = l.post_id WHERE p.user_id <> l.user_id
         ), ", notify!("like", "NULL"), "
         SELECT i.n, u.username, l.post_id IS NOT NULL AS is_new,
           coalesce(c.likes_count, p.likes_count) AS likes_count,
           notified.id AS notification_id, notified.recipient_id, notified.created_at AS notified_at
         FROM input i JOIN target p ON p.id = i.post_id JOIN users u ON u.id = i.user_id
         LEFT JOIN inserted l ON l.post_id = i.post_id AND l.user_id = i.user_id
         LEFT JOIN counted c ON c.id = i.post_id
         LEFT JOIN notified ON notified.post_id = i.post_id AND notified.actor_id = i.user_id
         WHERE ", visible!("i.user_id")
    );
    Postgres: UNLIKE(Vec<i64>, Vec<i64>, Vec<i64>, &'static str) = concat!(
        "WITH input AS (
           SELECT * FROM unnest(?, ?) WITH ORDINALITY AS a(post_id, user_id, n)
         ), ", target!(), ", deleted AS (
           DELETE FROM likes l USING input i JOIN target p ON p.id = i.post_id
           WHERE l.post_id = i.post_id AND l.user_id = i.user_id
             AND ", visible!("i.user_id"), "
           RETURNING l.post_id, l.user_id, p.user_id AS recipient_id
         ), counted AS (
           UPDATE posts p SET likes_count = p.likes_count - x.less
           FROM (SELECT post_id, count(*) AS less FROM deleted GROUP BY post_id) AS x
           WHERE p.id = x.post_id RETURNING p.id, p.likes_count
         ), locked AS (
           SELECT user_id FROM user_counters WHERE user_id IN (SELECT recipient_id FROM deleted)
           ORDER BY user_id FOR NO KEY UPDATE
         ), removed AS (
           DELETE FROM notifications n USING deleted d JOIN locked ON locked.user_id = d.recipient_id
           WHERE n.post_id = d.post_id AND n.actor_id = d.user_id AND coalesce(n.comment_id, 0) = 0
             AND n.recipient_id = d.recipient_id
           RETURNING n.id, n.recipient_id, n.actor_id, n.post_id, n.is_read
         ), recipient AS (
           UPDATE user_counters c SET notifications = c.notifications - x.less, unread = c.unread - x.unread
           FROM (SELECT recipient_id, count(*) AS less, count(*) FILTER (WHERE NOT is_read) AS unread
                 FROM removed GROUP BY recipient_id) AS x
           WHERE c.user_id = x.recipient_id RETURNING c.user_id, c.unread
         )
         SELECT i.n, d.post_id IS NOT NULL AS was_liked, coalesce(c.likes_count, p.likes_count) AS likes_count,
           removed.id AS removed_id, removed.recipient_id, recipient.unread
         FROM input i JOIN target p ON p.id = i.post_id
         LEFT JOIN deleted d ON d.post_id = i.post_id AND d.user_id = i.user_id
         LEFT JOIN counted c ON c.id = i.post_id
         LEFT JOIN removed ON removed.post_id = i.post_id AND removed.actor_id = i.user_id
         LEFT JOIN recipient ON recipient.user_id = removed.recipient_id
         WHERE ", visible!("i.user_id")
    );
}

/// Turns the like count that a post has after the whole batch into the one after each write, as if they were executed
/// one after the other. Each item says whether its write changed anything; each change adds `step`.
fn count_each<'a>(writes: impl DoubleEndedIterator<Item = (PostId, bool, &'a mut i64)>, step: i64) {
    let mut later: HashMap<PostId, i64> = HashMap::new();
    for (post, is_change, likes_count) in writes.rev() {
        let later = later.entry(post).or_default();
        *likes_count -= *later;
        *later += if is_change { step } else { 0 };
    }
}

/// Likes posts. The output is `None` if the user may not see the post.
pub(crate) struct LikeBatch;

/// A like to be stored.
pub(crate) struct NewLike {
    pub(crate) post: PostId,
    pub(crate) user: UserId,
    pub(crate) at: DateTime<Utc>,
}

row! {
    struct LikedRow {
        n: i64,
        username: String,
        is_new: bool,
        likes_count: i64,
        notification: Option<NotifiedRow>,
    }
}

impl Batch for LikeBatch {
    type Write = NewLike;
    type Output = Option<Like>;

    fn locked_row(new: &NewLike) -> i64 {
        new.post.0
    }

    async fn execute(
        likes: &[NewLike],
        lock_timeout: LockTimeout,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Vec<Self::Output>> {
        let statement = LIKE.with((
            ids(likes, |new| new.post.0),
            ids(likes, |new| new.user.0),
            likes.iter().map(|new| Timestamp(new.at)).collect(),
            ids(likes, |new| new.post.0),
            lock_timeout.setting(),
        ));
        let rows: Vec<Decoded<LikedRow>> = RunQueryDsl::load(statement, conn).await?;
        let mut rows = in_order(likes.len(), rows.into_iter().map(|Decoded(row)| (row.n, row))).into_iter();
        let mut seen = HashSet::new();
        let output = |new: &NewLike| {
            let row = rows.next().flatten()?;
            // If a batch has the same like twice, only the first one is new.
            let is_new = row.is_new && seen.insert((new.post, new.user));
            let notified = row.notification.filter(|_| is_new);
            let notification =
                notified.map(|notified| notified.view(new.user, row.username, Activity::Like(new.post)));
            Some(Like { is_new, likes_count: row.likes_count, notification })
        };
        let mut outputs: Vec<_> = likes.iter().map(output).collect();
        let counts = likes.iter().zip(&mut outputs).filter_map(|(new, like)| {
            like.as_mut().map(|like| (new.post, like.is_new, &mut like.likes_count))
        });
        count_each(counts, 1);
        Ok(outputs)
    }
}

/// Removes likes. The output is `None` if the user may not see the post.
pub(crate) struct UnlikeBatch;

/// A like to be removed.
pub(crate) struct OldLike {
    pub(crate) post: PostId,
    pub(crate) user: UserId,
}

row! {
    struct UnlikedRow {
        n: i64,
        was_liked: bool,
        likes_count: i64,
        removed: Option<RemovedRow>,
    }
}

impl Batch for UnlikeBatch {
    type Write = OldLike;
    type Output = Option<Unlike>;

    fn locked_row(old: &OldLike) -> i64 {
        old.post.0
    }

    async fn execute(
        likes: &[OldLike],
        lock_timeout: LockTimeout,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Vec<Self::Output>> {
        let statement = UNLIKE.with((
            ids(likes, |old| old.post.0),
            ids(likes, |old| old.user.0),
            ids(likes, |old| old.post.0),
            lock_timeout.setting(),
        ));
        let rows: Vec<Decoded<UnlikedRow>> = RunQueryDsl::load(statement, conn).await?;
        let mut rows = in_order(likes.len(), rows.into_iter().map(|Decoded(row)| (row.n, row))).into_iter();
        let mut seen = HashSet::new();
        let output = |old: &OldLike| {
            let row = rows.next().flatten()?;
            // As for likes.
            let was_liked = row.was_liked && seen.insert((old.post, old.user));
            let removed = row.removed.filter(|_| was_liked).map(Into::into);
            Some(Unlike { was_liked, likes_count: row.likes_count, removed_notification: removed })
        };
        let mut outputs: Vec<_> = likes.iter().map(output).collect();
        let counts = likes.iter().zip(&mut outputs).filter_map(|(old, unlike)| {
            unlike.as_mut().map(|unlike| (old.post, unlike.was_liked, &mut unlike.likes_count))
        });
        count_each(counts, -1);
        Ok(outputs)
    }
}
