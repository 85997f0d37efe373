//! Comments.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _};
use domain::{
    Result,
    comments::{
        AddedComment, CommentContent, CommentEdit, CommentId, CommentRepository, CommentView, NewComment,
    },
    notifications::NotificationRemoved,
    page::{Page, PageRequest},
    posts::PostId,
    users::UserId,
};

use super::Repositories;
use crate::{
    comment_row::CommentRow,
    connection::{Connection, columns},
    counters::{DELETED, comment_or_zero, delete_notification, lock_notifications},
    db::Db,
    error::DbError,
    paging::upper_bound,
    repositories::usernames::username_of,
    schema::{Timestamp, comments, notifications, posts},
    sql::{bind::PageLimit, row::row, row_lock::Locked, statement::statements},
    sqlite::writes,
    visibility::{ANONYMOUS, visible, visible_to},
};

row! {
    struct ListRow {
        total: i64,
        comment: Option<CommentRow>,
    }
}

statements! {
    Both: LIST(i64, i64, PageLimit, i64, i64, i64) = concat!(
        "SELECT p.comments_count AS total, c.id, c.post_id, c.user_id, c.content, c.created_at, c.updated_at
         FROM posts p
         LEFT JOIN (SELECT * FROM comments
           WHERE post_id = ? AND id < ? ORDER BY id DESC LIMIT ? OFFSET ?) AS c ON true
         WHERE p.id = ? AND ", visible!(), "
         ORDER BY c.id DESC"
    );
}

/// Returns whether certainly nothing was changed.
fn is_refused<T>(result: &Result<CommentEdit<T>, DbError>) -> bool {
    matches!(result, Ok(CommentEdit::PostNotFound | CommentEdit::CommentNotFound))
}

#[async_trait]
impl CommentRepository for Repositories {
    async fn insert(&self, new: NewComment) -> Result<Option<AddedComment>> {
        let author = new.author;
        let added = match &self.db {
            Db::Postgres(db) => db.pool.comments.submit(new).await,
            Db::Sqlite(db) => {
                db.writer
                    .run(async move |tx: &mut Connection<'_>| writes::comments::insert(tx, new).await)
                    .await
            }
        }?;
        let notification = added.iter().filter_map(|added| added.notification.as_ref());
        self.db.note_change(notification.map(|notification| notification.recipient).chain([author]));
        Ok(added)
    }

    async fn list(
        &self,
        post: PostId,
        viewer: Option<UserId>,
        page: PageRequest,
    ) -> Result<Option<Page<CommentView>>> {
        let statement = || {
            let viewer = viewer.unwrap_or(ANONYMOUS);
            let limit = PageLimit(page.row_limit());
            LIST.with((post.0, upper_bound(page), limit, page.row_offset(), post.0, viewer.0))
        };
        let rows = self.db.load_rows_for::<ListRow>(viewer, statement).await?;
        let Some(total) = rows.first().map(|row| row.total) else { return Ok(None) };
        let rows = rows.into_iter().filter_map(|row| row.comment).collect();
        let Page { items, total, next } = Page::from_rows(rows, total, page.size, |row| row.id);
        let items = self.with_usernames(items, |row| row.user_id, CommentRow::view).await?;
        Ok(Some(Page { items, total, next }))
    }

    async fn update(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
        content: CommentContent,
        at: DateTime<Utc>,
    ) -> Result<CommentEdit<CommentView>> {
        let edit: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                let visible = posts::table.find(post.0).filter(visible_to(author)).select(posts::id);
                if tx.first::<i64, _>(visible).await?.is_none() {
                    return Ok(CommentEdit::PostNotFound);
                }
                let update = diesel::update(comments::table.find(id.0))
                    .filter(comments::post_id.eq(post.0))
                    .filter(comments::user_id.eq(author.0))
                    .set((comments::content.eq(content.as_str()), comments::updated_at.eq(Timestamp(at))))
                    .returning(columns::<CommentRow>());
                let row: Option<CommentRow> = tx.first(update).await?;
                let comment =
                    row.zip(username_of(tx, author).await?).map(|(row, username)| row.view(username));
                Ok(comment.map_or(CommentEdit::CommentNotFound, CommentEdit::Applied))
            })
            .await;
        if !is_refused(&edit) {
            self.db.note_change_for_all();
        }
        Ok(edit?)
    }

    async fn delete(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
    ) -> Result<CommentEdit<Option<NotificationRemoved>>> {
        let edit: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                // In the order of all transactions: its deletion locks the post, and then its comments.
                let visible = posts::table.find(post.0).filter(visible_to(author)).select(posts::user_id);
                let Some(recipient) = tx.first(Locked(visible)).await?.map(UserId) else {
                    return Ok(CommentEdit::PostNotFound);
                };
                let delete = diesel::delete(comments::table.find(id.0))
                    .filter(comments::post_id.eq(post.0))
                    .filter(comments::user_id.eq(author.0));
                if tx.execute(delete).await? == 0 {
                    return Ok(CommentEdit::CommentNotFound);
                }
                let count = diesel::update(posts::table.find(post.0))
                    .set(posts::comments_count.eq(posts::comments_count - 1));
                tx.execute(count).await?;
                lock_notifications(tx, recipient).await?;
                let delete = diesel::delete(notifications::table)
                    .filter(notifications::post_id.eq(post.0))
                    .filter(notifications::actor_id.eq(author.0))
                    .filter(comment_or_zero().eq(id.0))
                    .returning(DELETED);
                Ok(CommentEdit::Applied(delete_notification(tx, delete).await?))
            })
            .await;
        if !is_refused(&edit) {
            self.db.note_change_for_all();
        }
        Ok(edit?)
    }
}
