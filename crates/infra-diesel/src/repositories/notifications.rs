//! Notifications.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, QueryDsl as _, Queryable, Selectable, dsl::not, pg::Pg, sqlite::Sqlite,
};
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

use super::Repositories;
use crate::{
    connection::{Connection, columns},
    counters::{DELETED, delete_notification, lock_notifications, subtract_notifications},
    error::DbError,
    paging::upper_bound,
    schema::notifications,
    sql::{bind::PageLimit, row::row, statement::statements},
};

row! {
    #[derive(Queryable, Selectable)]
    #[diesel(table_name = notifications, check_for_backend(Pg, Sqlite))]
    struct NotificationRow {
        id: i64,
        recipient_id: i64,
        actor_id: i64,
        kind: String,
        post_id: Option<i64>,
        comment_id: Option<i64>,
        is_read: bool,
        created_at: DateTime<Utc>,
    }
}

impl NotificationRow {
    fn view(self, actor_username: String) -> NotificationView {
        let activity = match (self.kind.as_str(), self.post_id.map(PostId), self.comment_id.map(CommentId)) {
            ("like", Some(post), _) => Activity::Like(post),
            ("comment", Some(post), Some(comment)) => Activity::Comment(post, comment),
            _ => Activity::Follow,
        };
        NotificationView {
            id: NotificationId(self.id),
            recipient: UserId(self.recipient_id),
            actor: UserId(self.actor_id),
            actor_username,
            activity,
            is_read: self.is_read,
            created_at: self.created_at,
        }
    }
}

row! {
    struct ListRow {
        total: i64,
        unread: i64,
        notification: Option<NotificationRow>,
    }
}

/// The list that `total` counts. The condition is part of the text: only then the index that has the same one serves.
macro_rules! list {
    ($total:literal, $condition:literal) => {
        concat!(
            "SELECT c.",
            $total,
            " AS total, c.unread, n.id, n.recipient_id, n.actor_id, n.kind, n.post_id,
               n.comment_id, n.is_read, n.created_at
             FROM user_counters c
             LEFT JOIN (SELECT * FROM notifications WHERE recipient_id = ? AND id < ?",
            $condition,
            "
               ORDER BY id DESC LIMIT ? OFFSET ?) AS n ON true
             WHERE c.user_id = ? ORDER BY n.id DESC"
        )
    };
}

statements! {
    Both: LIST(i64, i64, PageLimit, i64, i64) = list!("notifications", "");
    Both: LIST_UNREAD(i64, i64, PageLimit, i64, i64) = list!("unread", " AND NOT is_read");
}

#[async_trait]
impl NotificationRepository for Repositories {
    async fn list(
        &self,
        recipient: UserId,
        unread_only: bool,
        page: PageRequest,
    ) -> Result<NotificationPage> {
        let statement = if unread_only { &LIST_UNREAD } else { &LIST };
        let rows: Vec<ListRow> = self
            .db
            .load_rows(statement.with((
                recipient.0,
                upper_bound(page),
                PageLimit(page.row_limit()),
                page.row_offset(),
                recipient.0,
            )))
            .await?;
        let (total, unread_count) = rows.first().map_or((0, 0), |row| (row.total, row.unread));
        let rows = rows.into_iter().filter_map(|row| row.notification).collect();
        let Page { items, total, next } = Page::from_rows(rows, total, page.size, |row| row.id);
        let items = self.with_usernames(items, |row| row.actor_id, NotificationRow::view).await?;
        Ok(NotificationPage { page: Page { items, total, next }, unread_count })
    }

    async fn since(
        &self,
        recipient: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<Vec<NotificationView>> {
        let query = notifications::table
            .filter(notifications::recipient_id.eq(recipient.0))
            .filter(notifications::id.gt(since.0))
            .order(notifications::id)
            .limit(limit)
            .select(columns::<NotificationRow>());
        let rows: Vec<NotificationRow> = self.db.load(query).await?;
        Ok(self.with_usernames(rows, |row| row.actor_id, NotificationRow::view).await?)
    }

    async fn mark_read(&self, recipient: UserId, id: NotificationId) -> Result<Option<MarkedRead>> {
        let marked: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                lock_notifications(tx, recipient).await?;
                let one = notifications::table
                    .filter(notifications::recipient_id.eq(recipient.0))
                    .filter(notifications::id.eq(id.0));
                let mark = diesel::update(one.filter(not(notifications::is_read)))
                    .set(notifications::is_read.eq(true));
                let changed = tx.execute(mark).await?;
                if changed == 0 && tx.first::<i64, _>(one.select(notifications::id)).await?.is_none() {
                    return Ok(None);
                }
                let unread_count = subtract_notifications(tx, recipient, 0, changed).await?;
                Ok(Some(MarkedRead { changed, unread_count }))
            })
            .await;
        Ok(marked?)
    }

    async fn mark_all_read(&self, recipient: UserId) -> Result<MarkedRead> {
        let marked: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                lock_notifications(tx, recipient).await?;
                let mark = diesel::update(notifications::table)
                    .filter(notifications::recipient_id.eq(recipient.0))
                    .filter(not(notifications::is_read))
                    .set(notifications::is_read.eq(true));
                let changed = tx.execute(mark).await?;
                let unread_count = subtract_notifications(tx, recipient, 0, changed).await?;
                Ok(MarkedRead { changed, unread_count })
            })
            .await;
        Ok(marked?)
    }

    async fn delete(&self, recipient: UserId, id: NotificationId) -> Result<Option<NotificationRemoved>> {
        let removed: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                lock_notifications(tx, recipient).await?;
                let delete = diesel::delete(notifications::table)
                    .filter(notifications::recipient_id.eq(recipient.0))
                    .filter(notifications::id.eq(id.0))
                    .returning(DELETED);
                delete_notification(tx, delete).await
            })
            .await;
        Ok(removed?)
    }
}
