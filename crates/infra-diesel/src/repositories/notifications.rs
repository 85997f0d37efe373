//! Notifications, once they are there.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    comments::CommentId,
    notifications::{
        Activity, MarkedRead, NotificationId, NotificationPage, NotificationRemoved, NotificationRepository,
        NotificationView,
    },
    page::{Page, PageRequest},
    posts::PostId,
    users::UserId,
};

use super::{NumberRow, Repositories, upper_bound};
use crate::{
    connection::Connection,
    error::DbError,
    sql::{
        row::row,
        statement::{Literal, Statement, sql},
    },
};

row! {
    struct ListRow {
        total: i64,
        unread: i64,
        notification: Option<NotificationRow>,
    }
}

row! {
    pub(crate) struct NotificationRow {
        notification_id: i64,
        recipient_id: i64,
        actor_id: i64,
        actor_username: String,
        kind: String,
        post_id: Option<i64>,
        comment_id: Option<i64>,
        is_read: bool,
        notified_at: DateTime<Utc>,
    }
}

impl From<NotificationRow> for NotificationView {
    fn from(row: NotificationRow) -> Self {
        let activity = match (row.kind.as_str(), row.post_id.map(PostId), row.comment_id.map(CommentId)) {
            ("like", Some(post), _) => Activity::Like(post),
            ("comment", Some(post), Some(comment)) => Activity::Comment(post, comment),
            _ => Activity::Follow,
        };
        Self {
            id: NotificationId(row.notification_id),
            recipient: UserId(row.recipient_id),
            actor: UserId(row.actor_id),
            actor_username: row.actor_username,
            activity,
            is_read: row.is_read,
            created_at: row.notified_at,
        }
    }
}

row! {
    struct StateRow {
        unread: i64,
    }
}

/// Locks everything that happens to a user's notifications: without it, two who mark and withdraw at once could
/// wait for each other.
async fn lock(tx: &mut Connection<'_>, recipient: UserId) -> Result<(), DbError> {
    sql!("UPDATE user_counters SET unread = unread WHERE user_id = ?", recipient.0).execute(tx).await?;
    Ok(())
}

async fn unread(tx: &mut Connection<'_>, recipient: UserId, fewer: i64, gone: i64) -> Result<i64, DbError> {
    let row =
        sql!(
        "UPDATE user_counters SET unread = unread - ?, notifications = notifications - ? WHERE user_id = ?
         RETURNING unread",
        fewer, gone, recipient.0
    );
    Ok(row.first::<StateRow>(tx).await?.map_or(0, |row| row.unread))
}

#[async_trait]
impl NotificationRepository for Repositories {
    async fn list(
        &self,
        recipient: UserId,
        unread_only: bool,
        page: PageRequest,
    ) -> Result<NotificationPage> {
        let (bound, offset, limit) = (upper_bound(page), page.row_offset(), Literal(page.row_limit()));
        // Two texts, since an index with a condition serves only a query that states it.
        let statement = if unread_only {
            sql!(
                "SELECT c.unread AS total, c.unread, n.id AS notification_id, n.recipient_id, n.actor_id,
                   n.actor_name AS actor_username, n.kind, n.post_id, n.comment_id, n.is_read, n.created_at AS notified_at
                 FROM user_counters c
                 LEFT JOIN (SELECT * FROM notifications
                   WHERE recipient_id = ? AND NOT is_read AND id < ?
                   ORDER BY id DESC LIMIT ? OFFSET ?) AS n ON true
                 WHERE c.user_id = ? ORDER BY n.id DESC",
                recipient.0, bound.id, limit, offset, recipient.0
            )
        } else {
            sql!(
                "SELECT c.notifications AS total, c.unread, n.id AS notification_id, n.recipient_id, n.actor_id,
                   n.actor_name AS actor_username, n.kind, n.post_id, n.comment_id, n.is_read, n.created_at AS notified_at
                 FROM user_counters c
                 LEFT JOIN (SELECT * FROM notifications
                   WHERE recipient_id = ? AND id < ?
                   ORDER BY id DESC LIMIT ? OFFSET ?) AS n ON true
                 WHERE c.user_id = ? ORDER BY n.id DESC",
                recipient.0, bound.id, limit, offset, recipient.0
            )
        };
        let rows = self.db.load_rows::<ListRow>(statement).await?;
        let (total, unread_count) = rows.first().map_or((0, 0), |row| (row.total, row.unread));
        let items = rows.into_iter().filter_map(|row| row.notification).map(NotificationView::from).collect();
        let page = Page::from_rows(items, total, page.size, NotificationView::position);
        Ok(NotificationPage { page, unread_count })
    }

    async fn since(
        &self,
        recipient: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<Vec<NotificationView>> {
        let rows = sql!(
            "SELECT n.id AS notification_id, n.recipient_id, n.actor_id, n.actor_name AS actor_username, n.kind, n.post_id,
               n.comment_id, n.is_read, n.created_at AS notified_at
             FROM (SELECT * FROM notifications WHERE recipient_id = ? AND id > ? ORDER BY id LIMIT ?) AS n
             ORDER BY n.id",
            recipient.0, since.0, Literal(limit)
        );
        Ok(self
            .db
            .load_rows::<NotificationRow>(rows)
            .await?
            .into_iter()
            .map(NotificationView::from)
            .collect())
    }

    async fn mark_read(&self, recipient: UserId, id: NotificationId) -> Result<Option<MarkedRead>> {
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                lock(tx, recipient).await?;
                let changed = sql!(
                "UPDATE notifications SET is_read = true WHERE recipient_id = ? AND id = ? AND NOT is_read",
                recipient.0,
                id.0
            )
            .execute(tx)
            .await?;
                if changed == 0 {
                    let there = sql!(
                        "SELECT id AS value FROM notifications WHERE recipient_id = ? AND id = ?",
                        recipient.0,
                        id.0
                    );
                    if there.first::<NumberRow>(tx).await?.is_none() {
                        return Ok(None);
                    }
                }
                Ok(Some(MarkedRead { changed, unread_count: unread(tx, recipient, changed, 0).await? }))
            })
            .await;
        Ok(done?)
    }

    async fn mark_all_read(&self, recipient: UserId) -> Result<MarkedRead> {
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                lock(tx, recipient).await?;
                let changed = sql!(
                    "UPDATE notifications SET is_read = true WHERE recipient_id = ? AND NOT is_read",
                    recipient.0
                )
                .execute(tx)
                .await?;
                Ok(MarkedRead { changed, unread_count: unread(tx, recipient, changed, 0).await? })
            })
            .await;
        Ok(done?)
    }

    async fn delete(&self, recipient: UserId, id: NotificationId) -> Result<Option<NotificationRemoved>> {
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                lock(tx, recipient).await?;
                let gone = sql!(
                    "DELETE FROM notifications WHERE recipient_id = ? AND id = ?
                 RETURNING CASE WHEN is_read THEN 0 ELSE 1 END AS value",
                    recipient.0,
                    id.0
                );
                withdraw(tx, recipient, id, gone).await
            })
            .await;
        Ok(done?)
    }
}

/// Counts off what `deletion` deleted, which returns 1 for an unread notification.
async fn withdraw(
    tx: &mut Connection<'_>,
    recipient: UserId,
    id: NotificationId,
    deletion: Statement,
) -> Result<Option<NotificationRemoved>, DbError> {
    row! {
        struct UnreadRow {
            value: i32,
        }
    }
    let Some(row) = deletion.first::<UnreadRow>(tx).await? else { return Ok(None) };
    Ok(Some(NotificationRemoved {
        recipient,
        id,
        unread_count: unread(tx, recipient, row.value.into(), 1).await?,
    }))
}
