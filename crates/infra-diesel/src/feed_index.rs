//! The feed index: how many posts each bucket of ids has, so that a page far back in the feed is found without reading all
//! posts before it.
//!
//! A bucket is a fixed range of [`BUCKET_IDS`] ids. `feed_buckets` counts the public posts of each under the owner 0, and
//! the private posts of each user under that user. On SQLite triggers change the counts themselves. On PostgreSQL they
//! insert rows into `feed_changes`, so that concurrent writers never wait for each other, and [`apply_changes`] adds those to
//! the counts. Counts and changes together are exact in every snapshot.

use diesel::{ExpressionMethods as _, QueryDsl as _};
use domain::{page::PageRequest, users::UserId};

use crate::{
    connection::Connection,
    db::Db,
    error::DbError,
    paging::{below, of_user_below, visible_posts},
    post_row::post_columns,
    schema::{feed_buckets, feed_total, posts},
    sql::statement::{Statement, statements},
};

/// The number of ids in a bucket: a far page reads all counts and walks through one bucket. The triggers have it as
/// `id >> 11`.
const BUCKET_IDS: i64 = 1 << 11;
/// The number of posts up to which walking the feed is as cheap as reading the counts.
pub(crate) const MAX_WALK: i64 = 500;

/// The number of posts that a viewer sees; the bind is the viewer.
macro_rules! feed_length {
    () => {
        "SELECT CAST((SELECT posts FROM feed_total)
           + (SELECT coalesce(sum(change), 0) FROM feed_changes WHERE owner_id = 0)
           + coalesce((SELECT private_posts FROM user_counters WHERE user_id = ?), 0) AS bigint) AS total"
    };
}
pub(crate) use feed_length;

/// One snapshot. `newer` is the number of posts that the viewer sees in the buckets that are wholly before the page; the
/// walk begins below them, and skips the rest.
macro_rules! far_page {
    ($database:tt) => {
        concat!(
            "WITH total AS (",
            feed_length!(),
            "), start AS MATERIALIZED (
               SELECT coalesce(min(bucket) << 11, ?) AS bound, coalesce(max(newer), 0) AS newer FROM (
                 SELECT bucket, sum(posts) OVER (ORDER BY bucket DESC) AS newer FROM (
                   SELECT bucket, posts FROM feed_buckets WHERE owner_id IN (0, ?)
                   UNION ALL SELECT bucket, change FROM feed_changes WHERE owner_id IN (0, ?)) AS counts) AS sums
               WHERE newer <= ?),
             page AS (",
            visible_posts!(
                $database,
                "id",
                below!($database, "(SELECT bound FROM start)"),
                of_user_below!($database, "(SELECT bound FROM start)"),
                "(SELECT ? - newer FROM start)"
            ),
            " LIMIT ? OFFSET (SELECT ? - newer FROM start))
             SELECT total.total, ",
            post_columns!(),
            " FROM total LEFT JOIN page ON true LEFT JOIN posts p ON p.id = page.id ORDER BY p.id DESC"
        )
    };
}

statements! {
    // One snapshot.
    Both: SURPLUS(i64, i64, i64, i64) =
        "SELECT CAST(abs(coalesce((SELECT posts FROM feed_total), -1)
             - (SELECT coalesce(sum(posts), 0) FROM feed_buckets WHERE owner_id = 0))
           + abs((SELECT coalesce(sum(posts), 0) FROM feed_buckets WHERE owner_id = 0 AND bucket = ?)
             + (SELECT coalesce(sum(change), 0) FROM feed_changes WHERE owner_id = 0 AND bucket = ?)
             - (SELECT count(*) FROM posts WHERE NOT is_private AND id >= ? AND id < ?)) AS bigint) AS surplus";
    // The counts are sorted, so that several processes that do this at once do not deadlock.
    Postgres: APPLY_CHANGES() =
        "WITH applied AS (DELETE FROM feed_changes RETURNING owner_id, bucket, change),
         total AS (UPDATE feed_total SET posts = posts + x.change
           FROM (SELECT sum(change) AS change FROM applied WHERE owner_id = 0) AS x WHERE x.change <> 0)
         INSERT INTO feed_buckets AS b (owner_id, bucket, posts)
         SELECT owner_id, bucket, sum(change) FROM applied GROUP BY owner_id, bucket HAVING sum(change) <> 0
         ORDER BY owner_id, bucket
         ON CONFLICT (owner_id, bucket) DO UPDATE SET posts = b.posts + EXCLUDED.posts";
    Both: COUNT_ALL() =
        "INSERT INTO feed_buckets (owner_id, bucket, posts)
         SELECT CASE WHEN is_private THEN user_id ELSE 0 END AS owner_id, id >> 11 AS bucket, count(*) FROM posts
         GROUP BY CASE WHEN is_private THEN user_id ELSE 0 END, id >> 11 ORDER BY 1, 2";
    Both: COUNT_TOTAL() =
        "INSERT INTO feed_total (posts) SELECT coalesce(sum(posts), 0) FROM feed_buckets WHERE owner_id = 0";
    // In the order in which changes are applied, and without waiting for those.
    Postgres: DELETE_EMPTY() =
        "DELETE FROM feed_buckets WHERE (owner_id, bucket) IN (SELECT owner_id, bucket FROM feed_buckets
           WHERE posts = 0 ORDER BY owner_id, bucket FOR UPDATE SKIP LOCKED)";
    Postgres: FAR_PAGE(i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64) = far_page!(postgres);
    Both: SQLITE_FAR_PAGE(i64, i64, i64, i64, i64, i64, i64, i64, i64, i64) = far_page!(sqlite);
}

/// Adds the changes to the counts. On PostgreSQL only.
pub(crate) async fn apply_changes(conn: &mut Connection<'_>) -> Result<(), DbError> {
    APPLY_CHANGES.with(()).execute(conn).await.map(drop)
}

/// Compares the count of a random bucket with its posts. The server makes no wrong count; a restore of data alone, with or
/// without the triggers, may.
pub(crate) async fn is_random_bucket_right(conn: &mut Connection<'_>) -> Result<bool, DbError> {
    let newest = posts::table.order(posts::id.desc()).limit(1).select(posts::id);
    let newest: i64 = conn.first(newest).await?.unwrap_or(0);
    let bucket = rand::random_range(0..=newest / BUCKET_IDS);
    let (from, to) = (bucket * BUCKET_IDS, (bucket + 1) * BUCKET_IDS);
    Ok(SURPLUS.with((bucket, bucket, from, to)).first::<i64>(conn).await? == Some(0))
}

/// Deletes the counts of buckets that have become empty.
pub(crate) async fn delete_empty_buckets(conn: &mut Connection<'_>) -> Result<(), DbError> {
    let deleted = match conn {
        Connection::Postgres(_) => DELETE_EMPTY.with(()).execute(conn).await,
        Connection::Sqlite(_) => {
            conn.execute(diesel::delete(feed_buckets::table.filter(feed_buckets::posts.eq(0)))).await
        }
    };
    deleted.map(drop)
}

/// Counts all posts anew, in a transaction of its own.
pub(crate) async fn count_anew(tx: &mut Connection<'_>) -> Result<(), DbError> {
    if let Connection::Postgres(_) = tx {
        // No other process changes counts, and one snapshot of posts and changes: the lock comes before the snapshot.
        for command in [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "LOCK TABLE feed_buckets IN SHARE ROW EXCLUSIVE MODE",
            "DELETE FROM feed_changes",
        ] {
            tx.execute(diesel::sql_query(command)).await?;
        }
    }
    tx.execute(diesel::delete(feed_buckets::table)).await?;
    tx.execute(diesel::delete(feed_total::table)).await?;
    COUNT_ALL.with(()).execute(tx).await?;
    COUNT_TOTAL.with(()).execute(tx).await?;
    Ok(())
}

/// Returns the query of a feed page by number, far back.
pub(crate) fn far_page(db: &Db, viewer: UserId, page: PageRequest) -> Statement {
    // Behind the end of every list, and safe to add to.
    let offset = page.offset().min(1 << 60);
    let size = page.size.get() + 1;
    let (viewer, end) = (viewer.0, offset + size);
    match db {
        Db::Postgres(_) => FAR_PAGE.with((
            viewer,
            i64::MAX,
            viewer,
            viewer,
            offset,
            end,
            viewer,
            viewer,
            end,
            size,
            offset,
            viewer,
        )),
        Db::Sqlite(_) => SQLITE_FAR_PAGE.with((
            viewer,
            i64::MAX,
            viewer,
            viewer,
            offset,
            viewer,
            viewer,
            size,
            offset,
            viewer,
        )),
    }
}
