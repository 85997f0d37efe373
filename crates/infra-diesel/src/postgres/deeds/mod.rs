//! Deeds on PostgreSQL: each is one statement, one round trip, with its counters and its notification; most are done
//! by the group ([`super::groups`]).
//!
//! The parts of such a statement see one snapshot and reach each other by `RETURNING`. Locks are taken in one
//! order: posts by id, then the rows of `user_counters` by user, then a row that counts public posts, so that no two
//! deeds wait for each other. The ids of notifications are taken from rows that the update of their recipients' counters
//! returned, that is under their lock.

use chrono::{DateTime, Utc};
use domain::{
    notifications::{Activity as Told, NotificationId, NotificationRemoved, NotificationView},
    users::UserId,
};

use crate::{
    connection::Connection,
    error::DbError,
    sql::{
        row::row,
        statement::{ArrayBind, Statement, sql},
    },
};

/// How many rows count public posts.
const COUNTERS: i32 = 64;

/// One of those rows. Any will do: those who count at once seldom take the same.
fn counter() -> i32 {
    rand::random_range(0..COUNTERS)
}

/// Counts posts of an author, some of them private.
pub(crate) async fn count(
    tx: &mut Connection<'_>,
    author: UserId,
    posts: i64,
    private: i64,
) -> Result<(), DbError> {
    let public = posts - private;
    sql!(
        "WITH counted AS (
           UPDATE user_counters SET posts = posts + ?, private_posts = private_posts + ? WHERE user_id = ? RETURNING 1
         )
         UPDATE public_post_counters c SET posts = c.posts + ? FROM counted WHERE c.shard = ? AND ? <> 0",
        posts,
        private,
        author.0,
        public,
        counter(),
        public
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What became of each of so many deeds, from rows that say which they are of: the first is 1.
fn in_order<T>(count: usize, rows: impl IntoIterator<Item = (i64, T)>) -> Vec<Option<T>> {
    let mut all: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    for (n, done) in rows {
        if let Some(place) = usize::try_from(n - 1).ok().and_then(|n| all.get_mut(n)) {
            *place = Some(done);
        }
    }
    all
}

fn ids<'a, D>(deeds: &'a [D], id: impl Fn(&'a D) -> i64) -> ArrayBind {
    ArrayBind::Ids(deeds.iter().map(id).collect())
}

/// Locks the posts that a group is about, whoever may see them. The bind is their ids.
macro_rules! target {
    () => {
        "target AS (
           SELECT p.id, p.user_id, p.is_private, p.likes_count FROM posts p WHERE p.id = ANY (?)
           ORDER BY p.id FOR NO KEY UPDATE
         )"
    };
}

/// Counts `news` for its recipients, and tells them; the kind and the comment come from the caller. A notification is
/// never older than the recipient's last.
macro_rules! telling {
    ($kind:literal, $comment:literal) => {
        concat!(
            "locked AS (
               SELECT user_id FROM user_counters WHERE user_id IN (SELECT recipient_id FROM news)
               ORDER BY user_id FOR NO KEY UPDATE
             ), box AS (
               UPDATE user_counters c SET notifications = c.notifications + x.more, unread = c.unread + x.more,
                 last_notification_at = greatest(c.last_notification_at, x.at)
               FROM (SELECT recipient_id, count(*) AS more, max(at) AS at
                     FROM news JOIN locked ON user_id = recipient_id GROUP BY recipient_id) AS x
               WHERE c.user_id = x.recipient_id RETURNING c.user_id, c.last_notification_at
             ), told AS (
               INSERT INTO notifications (recipient_id, actor_id, actor_name, kind, post_id, comment_id, created_at)
               SELECT recipient_id, actor_id, actor_name, '", $kind, "', post_id, ", $comment, ", box.last_notification_at
               FROM news JOIN box ON box.user_id = news.recipient_id
               RETURNING id, recipient_id, actor_id, actor_name, post_id, comment_id, created_at
             )"
        )
    };
}

row! {
    struct ToldRow {
        told_id: i64,
        recipient_id: i64,
        actor_name: String,
        told_at: DateTime<Utc>,
    }
}

impl ToldRow {
    fn view(self, actor: UserId, activity: Told) -> NotificationView {
        NotificationView {
            id: NotificationId(self.told_id),
            recipient: UserId(self.recipient_id),
            actor,
            actor_username: self.actor_name,
            activity,
            is_read: false,
            created_at: self.told_at,
        }
    }
}

row! {
    struct RemovedRow {
        removed_id: i64,
        recipient_id: i64,
        unread: i64,
    }
}

impl From<RemovedRow> for NotificationRemoved {
    fn from(row: RemovedRow) -> Self {
        Self {
            recipient: UserId(row.recipient_id),
            id: NotificationId(row.removed_id),
            unread_count: row.unread,
        }
    }
}

mod comments;
mod follows;
mod likes;
mod posts;

pub(crate) use comments::{Commenting, comment};
pub(crate) use follows::{follow, unfollow};
pub(crate) use likes::{Liking, Unliking, like, unlike};
pub(crate) use posts::{Publishing, publish};
