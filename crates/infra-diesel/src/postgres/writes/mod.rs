//! Writes that are a single statement each, with their counters and notifications, and so a single round trip. Most of
//! them are executed in batches ([`super::batch`]).
//!
//! The parts of such a statement see one snapshot and reach each other by `RETURNING`. All statements lock rows in one
//! order, so that no two of them wait for each other: posts by id, then rows of `user_counters` by user. Ids of notifications are taken from rows that the update of their recipients' counters
//! returned, that is under their lock.

pub(crate) mod comments;
pub(crate) mod follows;
pub(crate) mod likes;
pub(crate) mod posts;

use chrono::{DateTime, Utc};
use domain::{
    notifications::{Activity, NotificationId, NotificationRemoved, NotificationView},
    users::UserId,
};

use crate::sql::row::row;

/// Assigns the rows of a batch to its `count` writes. Each row comes with the number of its write, from 1.
fn in_order<T>(count: usize, rows: impl IntoIterator<Item = (i64, T)>) -> Vec<Option<T>> {
    let mut all: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    for (n, row) in rows {
        if let Some(target) = usize::try_from(n - 1).ok().and_then(|n| all.get_mut(n)) {
            *target = Some(row);
        }
    }
    all
}

fn ids<'a, W>(writes: &'a [W], id: impl Fn(&'a W) -> i64) -> Vec<i64> {
    writes.iter().map(id).collect()
}

/// A condition that is always true and sets how long the statement waits for locks. It must guard the first part of a
/// batch: PostgreSQL evaluates it once, before that part reads a row. The bind is
/// [`LockTimeout::setting`](super::batch::LockTimeout::setting).
macro_rules! lock_timeout {
    () => {
        "(SELECT set_config('lock_timeout', ?, true)) IS NOT NULL"
    };
}
pub(crate) use lock_timeout;

/// Locks the posts of a batch, no matter who may see them. The binds are their ids and the lock timeout.
macro_rules! target {
    () => {
        concat!(
            "target AS (
               SELECT p.id, p.user_id, p.is_private, p.likes_count FROM posts p
               WHERE p.id = ANY (?) AND ",
            $crate::postgres::writes::lock_timeout!(),
            " ORDER BY p.id FOR NO KEY UPDATE
             )"
        )
    };
}
pub(crate) use target;

/// Counts the rows of `event` for their recipients and stores their notifications. The caller supplies the kind and the
/// comment. A notification is never older than the recipient's last one.
macro_rules! notify {
    ($kind:literal, $comment:literal) => {
        concat!(
            "locked AS (
               SELECT user_id FROM user_counters WHERE user_id IN (SELECT recipient_id FROM event)
               ORDER BY user_id FOR NO KEY UPDATE
             ), recipient AS (
               UPDATE user_counters c SET notifications = c.notifications + x.more, unread = c.unread + x.more,
                 last_notification_at = greatest(c.last_notification_at, x.at)
               FROM (SELECT recipient_id, count(*) AS more, max(at) AS at
                     FROM event JOIN locked ON user_id = recipient_id GROUP BY recipient_id) AS x
               WHERE c.user_id = x.recipient_id RETURNING c.user_id, c.last_notification_at
             ), notified AS (
               INSERT INTO notifications (recipient_id, actor_id, kind, post_id, comment_id, created_at)
               SELECT recipient_id, actor_id, '", $kind, "', post_id, ", $comment, ",
                 recipient.last_notification_at
               FROM event JOIN recipient ON recipient.user_id = event.recipient_id
               RETURNING id, recipient_id, actor_id, post_id, comment_id, created_at
             )"
        )
    };
}
pub(crate) use notify;

row! {
    struct NotifiedRow {
        notification_id: i64,
        recipient_id: i64,
        notified_at: DateTime<Utc>,
    }
}

impl NotifiedRow {
    fn view(self, actor: UserId, actor_username: String, activity: Activity) -> NotificationView {
        NotificationView {
            id: NotificationId(self.notification_id),
            recipient: UserId(self.recipient_id),
            actor,
            actor_username,
            activity,
            is_read: false,
            created_at: self.notified_at,
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
