//! Comments.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
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

use super::{NumberRow, Repositories, upper_bound};
use crate::{
    connection::Connection,
    db::Db,
    error::DbError,
    sql::{
        row::row,
        statement::{Literal, RowLock, Statement, sql},
    },
    sqlite::writes,
    visibility::visible,
};

row! {
    pub(crate) struct CommentRow {
        added_id: i64,
        commented_post: i64,
        author_id: i64,
        author_username: String,
        content: String,
        commented_at: DateTime<Utc>,
        updated_at: Option<DateTime<Utc>>,
    }
}

impl From<CommentRow> for CommentView {
    fn from(row: CommentRow) -> Self {
        Self {
            id: CommentId(row.added_id),
            post: PostId(row.commented_post),
            author: UserId(row.author_id),
            author_username: row.author_username,
            content: row.content,
            created_at: row.commented_at,
            updated_at: row.updated_at,
        }
    }
}

row! {
    struct ListRow {
        total: i64,
        comment: Option<CommentRow>,
    }
}

/// Whether `viewer` may see the post.
async fn sees(conn: &mut Connection<'_>, post: PostId, viewer: UserId) -> Result<bool, DbError> {
    let found =
        sql!(concat!("SELECT p.id AS value FROM posts p WHERE p.id = ? AND ", visible!()), post.0, viewer.0);
    Ok(found.first::<NumberRow>(conn).await?.is_some())
}

/// Whether it is certain that nothing was changed.
fn is_refused<T>(done: &Result<CommentEdit<T>, DbError>) -> bool {
    matches!(done, Ok(CommentEdit::PostNotFound | CommentEdit::CommentNotFound))
}

#[async_trait]
impl CommentRepository for Repositories {
    async fn insert(&self, new: NewComment) -> Result<Option<AddedComment>> {
        let author = new.author;
        let done = match &self.db {
            Db::Postgres(db) => db.pool.comments.submit(new).await,
            Db::Sqlite(db) => {
                db.writer
                    .run(async move |tx: &mut Connection<'_>| writes::comments::comment(tx, new).await)
                    .await
            }
        }?;
        let told = done.iter().filter_map(|added| added.notification.as_ref()).map(|told| told.recipient);
        self.db.note_change(told.chain([author]));
        Ok(done)
    }

    async fn list(
        &self,
        post: PostId,
        viewer: Option<UserId>,
        page: PageRequest,
    ) -> Result<Option<Page<CommentView>>> {
        let (bound, offset) = (upper_bound(page), page.row_offset());
        // Nobody has the id -1: to a stranger only what is public.
        let viewer_id = viewer.map_or(-1, |viewer| viewer.0);
        let statement = || {
            sql!(
            concat!(
                "SELECT p.comments_count AS total, c.id AS added_id, c.post_id AS commented_post, c.user_id AS author_id,
                   c.author_name AS author_username, c.content, c.created_at AS commented_at, c.updated_at
                 FROM posts p
                 LEFT JOIN (SELECT * FROM comments
                   WHERE post_id = ? AND (created_at, id) < (?, ?)
                   ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?) AS c ON true
                 WHERE p.id = ? AND ", visible!(), "
                 ORDER BY c.created_at DESC, c.id DESC"
            ),
            post.0, bound.at, bound.id, Literal(page.row_limit()), offset, post.0, viewer_id
        )
        };
        let rows = self.db.load_rows_for::<ListRow>(viewer, statement).await?;
        let Some(total) = rows.first().map(|row| row.total) else { return Ok(None) };
        let items = rows.into_iter().filter_map(|row| row.comment).map(CommentView::from).collect();
        Ok(Some(Page::from_rows(items, total, page.size, CommentView::position)))
    }

    async fn update(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
        content: CommentContent,
        at: DateTime<Utc>,
    ) -> Result<CommentEdit<CommentView>> {
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                if !sees(tx, post, author).await? {
                    return Ok(CommentEdit::PostNotFound);
                }
                let changed = sql!(
                "UPDATE comments SET content = ?, updated_at = ? WHERE id = ? AND post_id = ? AND user_id = ?
                 RETURNING id AS added_id, post_id AS commented_post, user_id AS author_id,
                   author_name AS author_username, content,
                   created_at AS commented_at, updated_at",
                content.as_str(), at, id.0, post.0, author.0
            );
                let row = changed.first::<CommentRow>(tx).await?;
                Ok(row.map_or(CommentEdit::CommentNotFound, |row| CommentEdit::Applied(row.into())))
            })
            .await;
        if !is_refused(&done) {
            self.db.note_change_for_all();
        }
        Ok(done?)
    }

    async fn delete(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
    ) -> Result<CommentEdit<Option<NotificationRemoved>>> {
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                // The post first, as everywhere: whoever deletes it has it locked, and then wants its comments.
                let seen = sql!(
                    concat!("SELECT p.user_id AS value FROM posts p WHERE p.id = ? AND ", visible!(), "?"),
                    post.0,
                    author.0,
                    RowLock
                );
                let Some(seen) = seen.first::<NumberRow>(tx).await? else {
                    return Ok(CommentEdit::PostNotFound);
                };
                let gone = sql!(
                    "DELETE FROM comments WHERE id = ? AND post_id = ? AND user_id = ?",
                    id.0,
                    post.0,
                    author.0
                );
                if gone.execute(tx).await? == 0 {
                    return Ok(CommentEdit::CommentNotFound);
                }
                sql!("UPDATE posts SET comments_count = comments_count - 1 WHERE id = ?", post.0)
                    .execute(tx)
                    .await?;
                // The recipient's counters first, as everywhere.
                sql!("UPDATE user_counters SET unread = unread WHERE user_id = ?", seen.value)
                    .execute(tx)
                    .await?;
                let told = sql!(
                "DELETE FROM notifications WHERE post_id = ? AND actor_id = ? AND coalesce(comment_id, 0) = ?
                 RETURNING id, recipient_id, is_read",
                post.0, author.0, id.0
            );
                let Some(told) = told.first::<GoneRow>(tx).await? else {
                    return Ok(CommentEdit::Applied(None));
                };
                Ok(CommentEdit::Applied(Some(removed(tx, &told).await?)))
            })
            .await;
        if !is_refused(&done) {
            self.db.note_change_for_all();
        }
        Ok(done?)
    }
}

row! {
    /// A notification that was deleted.
    pub(crate) struct GoneRow {
        id: i64,
        recipient_id: i64,
        is_read: bool,
    }
}

/// Counts a deleted notification off.
pub(crate) async fn removed(tx: &mut Connection<'_>, gone: &GoneRow) -> Result<NotificationRemoved, DbError> {
    let left = sql!(
        "UPDATE user_counters SET notifications = notifications - 1, unread = unread - ? WHERE user_id = ?
         RETURNING unread AS value",
        i64::from(!gone.is_read),
        gone.recipient_id
    );
    let unread_count = left.first::<NumberRow>(tx).await?.map_or(0, |row| row.value);
    Ok(NotificationRemoved {
        recipient: UserId(gone.recipient_id),
        id: domain::notifications::NotificationId(gone.id),
        unread_count,
    })
}
