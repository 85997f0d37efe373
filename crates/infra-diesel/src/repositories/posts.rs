//! Posts and the one rule of who may see them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    media::{Media, MediaKey},
    page::{Page, PageRequest},
    posts::{
        Like, NewPost, PostChange, PostContent, PostId, PostRepository, PostRevision, PostUpdate, PostView,
        Unlike,
    },
    users::UserId,
};

use super::{Repositories, media};
use crate::{
    connection::Connection,
    db::Db,
    error::DbError,
    feed_index::{MAX_WALK, far_page},
    paging::upper_bound,
    post_row::{PostRow, post_columns},
    postgres::writes::{
        self as postgres_writes,
        likes::{NewLike, OldLike},
    },
    sql::{
        row::row,
        statement::{Bind, Literal, RowLock, Statement, sql},
    },
    sqlite::writes::{self as sqlite_writes, likes, posts},
    visibility::visible,
};

row! {
    struct FeedRow {
        total: i64,
        post: Option<PostRow>,
    }
}

row! {
    struct OldRow {
        is_private: bool,
        media_key: Option<String>,
    }
}

fn select_post(id: PostId, viewer: UserId) -> Statement {
    sql!(
        concat!("SELECT ", post_columns!(), " FROM posts p WHERE p.id = ? AND ", visible!()),
        viewer.0,
        id.0,
        viewer.0
    )
}

pub(crate) async fn find(
    conn: &mut Connection<'_>,
    id: PostId,
    viewer: UserId,
) -> Result<Option<PostView>, DbError> {
    Ok(select_post(id, viewer).first::<PostRow>(conn).await?.map(PostView::from))
}

fn feed_page(rows: Vec<FeedRow>, page: PageRequest) -> Page<PostView> {
    let total = rows.first().map_or(0, |row| row.total);
    let items = rows.into_iter().filter_map(|row| row.post).map(PostView::from).collect();
    Page::from_rows(items, total, page.size, PostView::position)
}

/// Counts posts of an author, some of them private.
async fn count(tx: &mut Connection<'_>, author: UserId, posts: i64, private: i64) -> Result<(), DbError> {
    match tx {
        Connection::Postgres(_) => postgres_writes::count(tx, author, posts, private).await,
        Connection::Sqlite(_) => sqlite_writes::count(tx, author, posts, private).await,
    }
}

/// Gives a post its file. The deletion that is owed for the case that this never happens goes.
pub(crate) async fn attach(tx: &mut Connection<'_>, media: Option<&Media>) -> Result<(), DbError> {
    if let Some(media) = media {
        media::cancel_deletion(tx, &media.key.0).await?;
    }
    Ok(())
}

#[async_trait]
impl PostRepository for Repositories {
    async fn insert(&self, new: NewPost) -> Result<PostView> {
        let stored = match &self.db {
            Db::Postgres(db) => db.pool.posts.submit(new).await,
            Db::Sqlite(db) => {
                db.writer.run(async move |tx: &mut Connection<'_>| posts::publish(tx, new).await).await
            }
        }?;
        let post = stored.ok_or_else(|| domain::Error::internal("a stored post cannot be read"))?;
        self.db.note_change([post.author]);
        Ok(post)
    }

    async fn find(&self, id: PostId, viewer: UserId) -> Result<Option<PostView>> {
        let rows = self.db.load_rows_for::<PostRow>(Some(viewer), || select_post(id, viewer)).await?;
        Ok(rows.into_iter().next().map(PostView::from))
    }

    async fn list(
        &self,
        viewer: UserId,
        author: Option<UserId>,
        page: PageRequest,
    ) -> Result<Page<PostView>> {
        let is_far = author.is_none() && page.offset() > MAX_WALK;
        let (bound, offset, limit) = (upper_bound(page), page.row_offset(), Literal(page.row_limit()));
        // How far either part of the list is read. The usual case stands in the text, where the planner sees it.
        let reach = || {
            if offset == 0 { Bind::Literal(page.row_limit()) } else { Bind::Id(offset + page.row_limit()) }
        };
        // What is public and what is the viewer's own are two ordered index scans, merged: strangers' private posts
        // are never passed over. (PostgreSQL plans the parts of a UNION by themselves, so each needs its own LIMIT.) The page of ids comes first, its texts after.
        let statement = || {
            match author {
            None => sql!(
                concat!(
                    "WITH total AS (SELECT CAST((SELECT coalesce(sum(posts), 0) FROM public_post_counters)
                       + coalesce((SELECT private_posts FROM user_counters WHERE user_id = ?), 0) AS bigint) AS total),
                     page AS (SELECT id, created_at FROM (
                         SELECT * FROM (SELECT id, created_at FROM posts
                           WHERE NOT is_private AND (created_at, id) < (?, ?)
                           ORDER BY created_at DESC, id DESC LIMIT ?) AS public
                         UNION ALL
                         SELECT * FROM (SELECT id, created_at FROM posts
                           WHERE is_private AND user_id = ? AND (created_at, id) < (?, ?)
                           ORDER BY created_at DESC, id DESC LIMIT ?) AS private
                       ) AS visible
                       ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?)
                     SELECT total.total, ", post_columns!(), "
                     FROM total LEFT JOIN page ON true
                     LEFT JOIN posts p ON p.id = page.id
                     ORDER BY page.created_at DESC, page.id DESC"
                ),
                viewer.0, bound.at, bound.id, reach(), viewer.0, bound.at, bound.id, reach(), limit, offset, viewer.0
            ),
            Some(author) => sql!(
                concat!(
                    "WITH total AS (SELECT coalesce((SELECT CASE WHEN user_id = ? THEN posts ELSE posts - private_posts END
                       FROM user_counters WHERE user_id = ?), 0) AS total),
                     page AS (SELECT id, created_at FROM (
                         SELECT * FROM (SELECT id, created_at FROM posts
                           WHERE NOT is_private AND user_id = ? AND (created_at, id) < (?, ?)
                           ORDER BY created_at DESC, id DESC LIMIT ?) AS public
                         UNION ALL
                         SELECT * FROM (SELECT id, created_at FROM posts
                           WHERE is_private AND user_id = ? AND user_id = ? AND (created_at, id) < (?, ?)
                           ORDER BY created_at DESC, id DESC LIMIT ?) AS private
                       ) AS visible
                       ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?)
                     SELECT total.total, ", post_columns!(), "
                     FROM total LEFT JOIN page ON true
                     LEFT JOIN posts p ON p.id = page.id
                     ORDER BY page.created_at DESC, page.id DESC"
                ),
                viewer.0, author.0, author.0, bound.at, bound.id, reach(), author.0, viewer.0, bound.at, bound.id, reach(),
                limit, offset, viewer.0
            ),
        }
        };
        let make = || if is_far { far_page(viewer, page) } else { statement() };
        let rows = self.db.load_rows_for::<FeedRow>(Some(viewer), make).await?;
        Ok(feed_page(rows, page))
    }

    async fn update(&self, id: PostId, author: UserId, change: PostChange) -> Result<PostUpdate> {
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                let old = sql!(
                    concat!("SELECT is_private, media_key FROM posts WHERE id = ? AND user_id = ?", "?"),
                    id.0,
                    author.0,
                    RowLock
                );
                let Some(old) = old.first::<OldRow>(tx).await? else { return Ok(PostUpdate::NotFound) };
                let key = old.media_key.clone().map(MediaKey);
                if change.expected != (PostRevision { is_private: old.is_private, media: key }) {
                    return Ok(PostUpdate::Conflict);
                }
                let (key, url) =
                    change.media.clone().map_or((None, None), |media| (Some(media.key.0), media.url));
                let replaces = change.media.is_some();
                sql!(
                    "UPDATE posts SET content = coalesce(?, content), is_private = coalesce(?, is_private),
                   media_key = coalesce(?, media_key), media_url = CASE WHEN ? THEN ? ELSE media_url END,
                   updated_at = ?
                 WHERE id = ?",
                    change.content.as_ref().map(|content: &PostContent| content.as_str().to_owned()),
                    change.is_private,
                    key,
                    replaces,
                    url,
                    change.at,
                    id.0
                )
                .execute(tx)
                .await?;
                attach(tx, change.media.as_ref()).await?;
                if let (true, Some(old)) = (replaces, old.media_key) {
                    media::schedule_deletion(tx, &old, change.at).await?;
                }
                let becomes =
                    i64::from(change.is_private.unwrap_or(old.is_private)) - i64::from(old.is_private);
                if becomes != 0 {
                    count(tx, author, 0, becomes).await?;
                }
                Ok(find(tx, id, author).await?.map_or(PostUpdate::NotFound, PostUpdate::Updated))
            })
            .await;
        if !matches!(done, Ok(PostUpdate::NotFound | PostUpdate::Conflict)) {
            self.db.note_change_for_all();
        }
        Ok(done?)
    }

    async fn delete(&self, id: PostId, author: UserId, at: DateTime<Utc>) -> Result<bool> {
        let done: Result<_, DbError> = self.db.transaction(async move |tx: &mut Connection<'_>| {
            let old = sql!(
                "UPDATE posts SET updated_at = ? WHERE id = ? AND user_id = ? RETURNING is_private, media_key",
                at,
                id.0,
                author.0
            );
            let Some(old) = old.first::<OldRow>(tx).await? else { return Ok(false) };
            // Before the notifications themselves, as everywhere. All of a post are its author's.
            count(tx, author, -1, -i64::from(old.is_private)).await?;
            let told = sql!(
                "DELETE FROM notifications WHERE post_id = ? RETURNING CASE WHEN is_read THEN 0 ELSE 1 END AS value",
                id.0
            );
            let told = told.load::<UnreadRow>(tx).await?;
            let unread: i64 = told.iter().map(|row| i64::from(row.value)).sum();
            if !told.is_empty() {
                sql!(
                    "UPDATE user_counters SET notifications = notifications - ?, unread = unread - ? WHERE user_id = ?",
                    i64::try_from(told.len()).unwrap_or(i64::MAX), unread, author.0
                )
                .execute(tx)
                .await?;
            }
            if let Some(key) = old.media_key {
                media::schedule_deletion(tx, &key, at).await?;
            }
            // Likes and comments go with it.
            sql!("DELETE FROM posts WHERE id = ?", id.0).execute(tx).await?;
            Ok(true)
        }).await;
        if !matches!(done, Ok(false)) {
            self.db.note_change_for_all();
        }
        Ok(done?)
    }

    async fn like(&self, id: PostId, user: UserId, at: DateTime<Utc>) -> Result<Option<Like>> {
        let done = match &self.db {
            Db::Postgres(db) => db.pool.likes.submit(NewLike { post: id, user, at }).await,
            Db::Sqlite(db) => {
                db.writer.run(async move |tx: &mut Connection<'_>| likes::like(tx, id, user, at).await).await
            }
        }?;
        let told = done.iter().filter_map(|like| like.notification.as_ref()).map(|told| told.recipient);
        self.db.note_change(told.chain([user]));
        Ok(done)
    }

    async fn unlike(&self, id: PostId, user: UserId) -> Result<Option<Unlike>> {
        let done = match &self.db {
            Db::Postgres(db) => db.pool.unlikes.submit(OldLike { post: id, user }).await,
            Db::Sqlite(db) => {
                db.writer.run(async move |tx: &mut Connection<'_>| likes::unlike(tx, id, user).await).await
            }
        }?;
        let told =
            done.iter().filter_map(|unlike| unlike.removed_notification.as_ref()).map(|told| told.recipient);
        self.db.note_change(told.chain([user]));
        Ok(done)
    }
}

row! {
    struct UnreadRow {
        value: i32,
    }
}
