//! Posts and likes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    AsChangeset, ExpressionMethods as _, QueryDsl as _, Queryable, Selectable, dsl::exists, pg::Pg,
    sqlite::Sqlite,
};
use domain::{
    Result,
    media::MediaKey,
    page::{Page, PageRequest},
    posts::{Like, NewPost, PostChange, PostId, PostRepository, PostRevision, PostUpdate, PostView, Unlike},
    users::UserId,
};

use super::{Repositories, deleted_posts::remove_some_of, media};
use crate::{
    connection::{Connection, Select, columns},
    counters::count_posts,
    db::Db,
    error::DbError,
    feed_index::{MAX_WALK, far_page, feed_length},
    paging::{below, of_user_below, upper_bound, visible_posts},
    post_row::{PostRow, post_columns},
    postgres::writes::likes::{NewLike, OldLike},
    repositories::usernames::username_of,
    schema::{Timestamp, likes, posts},
    sql::{
        bind::{PageLimit, Reach},
        row::row,
        row_lock::Locked,
        statement::statements,
    },
    sqlite::{writer::Importance, writes},
    visibility::{ANONYMOUS, visible_to},
};

row! {
    struct FeedRow {
        total: i64,
        post: Option<PostRow>,
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = posts, check_for_backend(Pg, Sqlite))]
struct RevisionRow {
    is_private: bool,
    media_key: Option<String>,
    media_bytes: i64,
}

/// `None` leaves a column unchanged.
#[derive(AsChangeset)]
#[diesel(table_name = posts)]
#[allow(clippy::option_option, reason = "a new file may have no URL")]
struct Changes {
    content: Option<String>,
    is_private: Option<bool>,
    media_key: Option<String>,
    media_url: Option<Option<String>>,
    media_bytes: Option<i64>,
    updated_at: Timestamp,
}

/// A page of a list and the list's length. `$columns` are what the scans read, and `$rows` joins the rows `p`.
macro_rules! list {
    ($database:tt, $total:expr, $public:expr, $columns:literal, $rows:literal) => {
        concat!(
            "WITH total AS (",
            $total,
            "), page AS (",
            visible_posts!($database, $columns, $public, of_user_below!($database, "?"), "?"),
            " LIMIT ? OFFSET ?) SELECT total.total, ",
            post_columns!(),
            " FROM total LEFT JOIN ",
            $rows,
            " ORDER BY p.id DESC"
        )
    };
}

macro_rules! feed {
    ($database:tt, $columns:literal, $rows:literal) => {
        list!($database, feed_length!(), below!($database, "?"), $columns, $rows)
    };
}

/// The posts of an author are far apart, so their ids come first and the rows after.
macro_rules! of_author {
    ($database:tt) => {
        list!(
            $database,
            "SELECT coalesce((SELECT CASE WHEN user_id = ? THEN posts ELSE posts - private_posts END
               FROM user_counters WHERE user_id = ?), 0) AS total",
            of_user_below!($database, "?"),
            "id",
            "page ON true LEFT JOIN posts p ON p.id = page.id"
        )
    };
}

statements! {
    // The order is that of the table, so the rows are next to each other.
    Postgres: FEED(i64, i64, Reach, i64, i64, i64, Reach, PageLimit, i64, i64) =
        feed!(postgres, "*", "page p ON true");
    // SQLite copies the rows of a union; to look them up by their ids is cheaper.
    Both: SQLITE_FEED(i64, i64, i64, i64, i64, PageLimit, i64, i64) =
        feed!(sqlite, "id", "page ON true LEFT JOIN posts p ON p.id = page.id");
    Postgres: OF_AUTHOR(i64, i64, i64, i64, i64, Reach, i64, i64, i64, Reach, PageLimit, i64, i64) =
        of_author!(postgres);
    Both: SQLITE_OF_AUTHOR(i64, i64, i64, i64, i64, i64, i64, i64, PageLimit, i64, i64) =
        of_author!(sqlite);
}

fn select_post(id: PostId, viewer: UserId) -> impl Select<PostRow> {
    let like = likes::table.filter(likes::post_id.eq(posts::id)).filter(likes::user_id.eq(viewer.0));
    posts::table.filter(posts::id.eq(id.0)).filter(visible_to(viewer)).select((
        posts::id,
        posts::user_id,
        posts::content,
        posts::media_key,
        posts::media_url,
        posts::is_private,
        posts::likes_count,
        posts::comments_count,
        posts::created_at,
        posts::updated_at,
        exists(like),
    ))
}

/// Replaces the file of a post by one whose deletion is scheduled, and returns its size. The counter first, in the order of
/// all transactions.
async fn replace_media(
    tx: &mut Connection<'_>,
    author: UserId,
    old: &RevisionRow,
    key: &MediaKey,
    at: DateTime<Utc>,
) -> Result<i64, DbError> {
    media::count_media(tx, author, -old.media_bytes).await?;
    let uploaded = media::cancel_deletion(tx, &key.0).await?;
    if uploaded.is_none() {
        // A copy of the old file.
        media::count_media(tx, author, old.media_bytes).await?;
    }
    if let Some(old_key) = &old.media_key {
        media::schedule_deletion(tx, old_key, at).await?;
    }
    Ok(uploaded.unwrap_or(old.media_bytes))
}

async fn update(
    tx: &mut Connection<'_>,
    id: PostId,
    author: UserId,
    change: PostChange,
) -> Result<PostUpdate, DbError> {
    let own = posts::table.filter(posts::id.eq(id.0)).filter(posts::user_id.eq(author.0));
    let Some(old) = tx.first::<RevisionRow, _>(Locked(own.select(columns::<RevisionRow>()))).await? else {
        return Ok(PostUpdate::NotFound);
    };
    let media = old.media_key.clone().map(MediaKey);
    if change.expected != (PostRevision { is_private: old.is_private, media }) {
        return Ok(PostUpdate::Conflict);
    }
    let media_bytes = match &change.media {
        Some(media) => Some(replace_media(tx, author, &old, &media.key, change.at).await?),
        None => None,
    };
    let changes = Changes {
        content: change.content.map(|content| content.as_str().to_owned()),
        is_private: change.is_private,
        media_key: change.media.as_ref().map(|media| media.key.0.clone()),
        media_url: change.media.as_ref().map(|media| media.url.clone()),
        media_bytes,
        updated_at: Timestamp(change.at),
    };
    tx.execute(diesel::update(posts::table.find(id.0)).set(changes)).await?;
    let private = i64::from(change.is_private.unwrap_or(old.is_private)) - i64::from(old.is_private);
    if private != 0 {
        count_posts(tx, author, 0, private).await?;
    }
    let row: Option<PostRow> = tx.first(select_post(id, author)).await?;
    let post = row.zip(username_of(tx, author).await?).map(|(row, username)| row.view(username));
    Ok(post.map_or(PostUpdate::NotFound, PostUpdate::Updated))
}

async fn delete(
    tx: &mut Connection<'_>,
    id: PostId,
    author: UserId,
    at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let lock = diesel::update(posts::table.find(id.0))
        .filter(posts::user_id.eq(author.0))
        .set(posts::updated_at.eq(Timestamp(at)))
        .returning(columns::<RevisionRow>());
    let Some(old) = tx.first::<RevisionRow, _>(lock).await? else { return Ok(false) };
    count_posts(tx, author, -1, -i64::from(old.is_private)).await?;
    media::count_media(tx, author, -old.media_bytes).await?;
    if let Some(key) = old.media_key {
        media::schedule_deletion(tx, &key, at).await?;
    }
    tx.execute(diesel::delete(posts::table.find(id.0))).await?;
    // All likes, comments and notifications, unless there are very many.
    remove_some_of(tx, id.0, author).await?;
    Ok(true)
}

#[async_trait]
impl PostRepository for Repositories {
    async fn insert(&self, new: NewPost) -> Result<PostView> {
        let stored = match &self.db {
            Db::Postgres(db) => db.pool.posts.submit(new).await,
            Db::Sqlite(db) => {
                db.writer.run(async move |tx: &mut Connection<'_>| writes::posts::insert(tx, new).await).await
            }
        }?;
        let post = stored.ok_or_else(|| domain::Error::internal("the author of a post does not exist"))?;
        self.db.note_change([post.author]);
        Ok(post)
    }

    async fn find(&self, id: PostId, viewer: UserId) -> Result<Option<PostView>> {
        let rows = self.db.load_for(Some(viewer), || select_post(id, viewer)).await?;
        Ok(self.with_usernames(rows, |row| row.user_id, PostRow::view).await?.pop())
    }

    async fn list(
        &self,
        viewer: UserId,
        author: Option<UserId>,
        page: PageRequest,
    ) -> Result<Page<PostView>> {
        let (UserId(me), bound) = (viewer, upper_bound(page));
        let (offset, size) = (page.row_offset(), page.row_limit());
        let (limit, reach) = (PageLimit(size), Reach { offset, rows: size });
        let statement = || match (author.map(|author| author.0), &self.db) {
            (None, db) if page.offset() > MAX_WALK => far_page(db, viewer, page),
            (None, Db::Postgres(_)) => FEED.with((me, bound, reach, me, me, bound, reach, limit, offset, me)),
            (None, Db::Sqlite(_)) => SQLITE_FEED.with((me, bound, me, me, bound, limit, offset, me)),
            (Some(author), db) => {
                let private = if me == author { author } else { ANONYMOUS.0 };
                match db {
                    Db::Postgres(_) => OF_AUTHOR.with((
                        me, author, author, author, bound, reach, private, private, bound, reach, limit,
                        offset, me,
                    )),
                    Db::Sqlite(_) => SQLITE_OF_AUTHOR.with((
                        me, author, author, author, bound, private, private, bound, limit, offset, me,
                    )),
                }
            }
        };
        let rows = self.db.load_rows_for::<FeedRow>(Some(viewer), statement).await?;
        let total = rows.first().map_or(0, |row| row.total);
        let rows = rows.into_iter().filter_map(|row| row.post).collect();
        let Page { items, total, next } = Page::from_rows(rows, total, page.size, |row| row.post_id);
        let items = self.with_usernames(items, |row| row.user_id, PostRow::view).await?;
        Ok(Page { items, total, next })
    }

    async fn update(&self, id: PostId, author: UserId, change: PostChange) -> Result<PostUpdate> {
        let work = async move |tx: &mut Connection<'_>| update(tx, id, author, change).await;
        let updated: Result<_, DbError> = self.db.transaction(work).await;
        if !matches!(updated, Ok(PostUpdate::NotFound | PostUpdate::Conflict)) {
            self.db.note_change_for_all();
        }
        Ok(updated?)
    }

    async fn delete(&self, id: PostId, author: UserId, at: DateTime<Utc>) -> Result<bool> {
        let work = async move |tx: &mut Connection<'_>| delete(tx, id, author, at).await;
        let deleted: Result<_, DbError> = self.db.transaction_as(Importance::Essential, work).await;
        if !matches!(deleted, Ok(false)) {
            self.db.note_change_for_all();
        }
        Ok(deleted?)
    }

    async fn like(&self, id: PostId, user: UserId, at: DateTime<Utc>) -> Result<Option<Like>> {
        let like = match &self.db {
            Db::Postgres(db) => db.pool.likes.submit(NewLike { post: id, user, at }).await,
            Db::Sqlite(db) => {
                db.writer
                    .run(async move |tx: &mut Connection<'_>| writes::likes::like(tx, id, user, at).await)
                    .await
            }
        }?;
        let notification = like.iter().filter_map(|like| like.notification.as_ref());
        self.db.note_change(notification.map(|notification| notification.recipient).chain([user]));
        Ok(like)
    }

    async fn unlike(&self, id: PostId, user: UserId) -> Result<Option<Unlike>> {
        let unlike = match &self.db {
            Db::Postgres(db) => db.pool.unlikes.submit(OldLike { post: id, user }).await,
            Db::Sqlite(db) => {
                db.writer
                    .run(async move |tx: &mut Connection<'_>| writes::likes::unlike(tx, id, user).await)
                    .await
            }
        }?;
        let removed = unlike.iter().filter_map(|unlike| unlike.removed_notification.as_ref());
        self.db.note_change(removed.map(|removed| removed.recipient).chain([user]));
        Ok(unlike)
    }
}
