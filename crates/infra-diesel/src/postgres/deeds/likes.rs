//! Liking, and taking that back.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use domain::{
    posts::{Like, PostId, Unlike},
    users::UserId,
};

use super::{RemovedRow, Told, ToldRow, ids, in_order};
use crate::{
    error::DbError,
    postgres::{
        database::PostgresDb,
        groups::{Deed, Group, Groups, perform},
    },
    schema::Timestamp,
    sql::{
        row::row,
        statement::{ArrayBind, Statement, sql},
    },
    visibility::visible,
};

/// Makes of the likes that a post has after all deeds of a group those that it has after each, as if one were done after
/// the other. Which were done at all is given; each adds `step`.
fn count_each<'a>(deeds: impl DoubleEndedIterator<Item = (PostId, bool, &'a mut i64)>, step: i64) {
    let mut later: HashMap<PostId, i64> = HashMap::new();
    for (post, is_done, likes_count) in deeds.rev() {
        let later = later.entry(post).or_default();
        *likes_count -= *later;
        *later += if is_done { step } else { 0 };
    }
}

/// Likes a post.
pub(crate) struct Liking {
    post: PostId,
    user: UserId,
    at: DateTime<Utc>,
}

row! {
    struct LikedRow {
        n: i64,
        is_new: bool,
        likes_count: i64,
        told: Option<ToldRow>,
    }
}

impl Deed for Liking {
    type Done = Option<Like>;

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.liking
    }

    async fn all(deeds: &[Self], conn: &mut AsyncPgConnection) -> QueryResult<Vec<Self::Done>> {
        let statement = sql!(
            concat!(
                "WITH asked AS (
                   SELECT * FROM unnest(?, ?, ?) WITH ORDINALITY AS a(post_id, user_id, at, n)
                 ), ", target!(), ", fresh AS (
                   INSERT INTO likes (post_id, user_id, created_at)
                   SELECT a.post_id, a.user_id, a.at FROM asked a JOIN target p ON p.id = a.post_id
                   WHERE ", visible!("a.user_id"), "
                   ON CONFLICT DO NOTHING RETURNING post_id, user_id, created_at
                 ), counted AS (
                   UPDATE posts p SET likes_count = p.likes_count + x.more
                   FROM (SELECT post_id, count(*) AS more FROM fresh GROUP BY post_id) AS x
                   WHERE p.id = x.post_id RETURNING p.id, p.likes_count
                 ), news AS (
                   SELECT p.user_id AS recipient_id, u.id AS actor_id, u.username AS actor_name, p.id AS post_id,
                     f.created_at AS at
                   FROM fresh f JOIN target p ON p.id = f.post_id JOIN users u ON u.id = f.user_id
                   WHERE p.user_id <> u.id
                 ), ", telling!("like", "NULL"), "
                 SELECT a.n, f.post_id IS NOT NULL AS is_new, coalesce(c.likes_count, p.likes_count) AS likes_count,
                   told.id AS told_id, told.recipient_id, told.actor_name, told.created_at AS told_at
                 FROM asked a JOIN target p ON p.id = a.post_id
                 LEFT JOIN fresh f ON f.post_id = a.post_id AND f.user_id = a.user_id
                 LEFT JOIN counted c ON c.id = a.post_id
                 LEFT JOIN told ON told.post_id = a.post_id AND told.actor_id = a.user_id
                 WHERE ", visible!("a.user_id")
            ),
            ids(deeds, |deed| deed.post.0),
            ids(deeds, |deed| deed.user.0),
            ArrayBind::Timestamps(deeds.iter().map(|deed| Timestamp(deed.at)).collect()),
            ids(deeds, |deed| deed.post.0)
        );
        let rows = statement.load_postgres::<LikedRow, _>(conn).await?;
        let mut rows = in_order(deeds.len(), rows.into_iter().map(|row| (row.n, row))).into_iter();
        let mut seen = HashSet::new();
        let like = |deed: &Self| {
            let row = rows.next().flatten()?;
            // Of the same like twice in a group, the first one is it.
            let is_new = row.is_new && seen.insert((deed.post, deed.user));
            let told = row.told.filter(|_| is_new);
            let notification = told.map(|told| told.view(deed.user, Told::Like(deed.post)));
            Some(Like { is_new, likes_count: row.likes_count, notification })
        };
        let mut done: Vec<_> = deeds.iter().map(like).collect();
        let likes = deeds.iter().zip(&mut done).filter_map(|(deed, like)| {
            like.as_mut().map(|like| (deed.post, like.is_new, &mut like.likes_count))
        });
        count_each(likes, 1);
        Ok(done)
    }
}

pub(crate) async fn like(
    to: &PostgresDb,
    post: PostId,
    user: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Like>, DbError> {
    perform(&to.pools, Liking { post, user, at }).await
}

/// Takes a like back.
pub(crate) struct Unliking {
    post: PostId,
    user: UserId,
}

row! {
    struct UnlikedRow {
        n: i64,
        was_liked: bool,
        likes_count: i64,
        removed: Option<RemovedRow>,
    }
}

impl Deed for Unliking {
    type Done = Option<Unlike>;

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.unliking
    }

    async fn all(deeds: &[Self], conn: &mut AsyncPgConnection) -> QueryResult<Vec<Self::Done>> {
        let statement = sql!(
            concat!(
                "WITH asked AS (
                   SELECT * FROM unnest(?, ?) WITH ORDINALITY AS a(post_id, user_id, n)
                 ), ", target!(), ", gone AS (
                   DELETE FROM likes l USING asked a JOIN target p ON p.id = a.post_id
                   WHERE l.post_id = a.post_id AND l.user_id = a.user_id
                     AND ", visible!("a.user_id"), "
                   RETURNING l.post_id, l.user_id, p.user_id AS recipient_id
                 ), counted AS (
                   UPDATE posts p SET likes_count = p.likes_count - x.less
                   FROM (SELECT post_id, count(*) AS less FROM gone GROUP BY post_id) AS x
                   WHERE p.id = x.post_id RETURNING p.id, p.likes_count
                 ), locked AS (
                   SELECT user_id FROM user_counters WHERE user_id IN (SELECT recipient_id FROM gone)
                   ORDER BY user_id FOR NO KEY UPDATE
                 ), untold AS (
                   DELETE FROM notifications n USING gone JOIN locked ON locked.user_id = gone.recipient_id
                   WHERE n.post_id = gone.post_id AND n.actor_id = gone.user_id AND coalesce(n.comment_id, 0) = 0
                     AND n.recipient_id = gone.recipient_id
                   RETURNING n.id, n.recipient_id, n.actor_id, n.post_id, n.is_read
                 ), box AS (
                   UPDATE user_counters c SET notifications = c.notifications - x.less, unread = c.unread - x.unread
                   FROM (SELECT recipient_id, count(*) AS less, count(*) FILTER (WHERE NOT is_read) AS unread
                         FROM untold GROUP BY recipient_id) AS x
                   WHERE c.user_id = x.recipient_id RETURNING c.user_id, c.unread
                 )
                 SELECT a.n, gone.post_id IS NOT NULL AS was_liked, coalesce(c.likes_count, p.likes_count) AS likes_count,
                   untold.id AS removed_id, untold.recipient_id, box.unread
                 FROM asked a JOIN target p ON p.id = a.post_id
                 LEFT JOIN gone ON gone.post_id = a.post_id AND gone.user_id = a.user_id
                 LEFT JOIN counted c ON c.id = a.post_id
                 LEFT JOIN untold ON untold.post_id = a.post_id AND untold.actor_id = a.user_id
                 LEFT JOIN box ON box.user_id = untold.recipient_id
                 WHERE ", visible!("a.user_id")
            ),
            ids(deeds, |deed| deed.post.0),
            ids(deeds, |deed| deed.user.0),
            ids(deeds, |deed| deed.post.0)
        );
        let rows = statement.load_postgres::<UnlikedRow, _>(conn).await?;
        let mut rows = in_order(deeds.len(), rows.into_iter().map(|row| (row.n, row))).into_iter();
        let mut seen = HashSet::new();
        let unlike = |deed: &Self| {
            let row = rows.next().flatten()?;
            // As for likes.
            let was_liked = row.was_liked && seen.insert((deed.post, deed.user));
            let removed = row.removed.filter(|_| was_liked).map(Into::into);
            Some(Unlike { was_liked, likes_count: row.likes_count, removed_notification: removed })
        };
        let mut done: Vec<_> = deeds.iter().map(unlike).collect();
        let unlikes = deeds.iter().zip(&mut done).filter_map(|(deed, unlike)| {
            unlike.as_mut().map(|unlike| (deed.post, unlike.was_liked, &mut unlike.likes_count))
        });
        count_each(unlikes, -1);
        Ok(done)
    }
}

pub(crate) async fn unlike(to: &PostgresDb, post: PostId, user: UserId) -> Result<Option<Unlike>, DbError> {
    perform(&to.pools, Unliking { post, user }).await
}
