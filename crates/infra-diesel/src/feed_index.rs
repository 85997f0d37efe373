//! The feed index: counts of public posts by range, so that a page far back in the feed is found without reading all
//! posts before it.
//!
//! A bucket counts the public posts from its own position down to the next older bucket. Posts that are newer than the
//! newest bucket are not counted yet: reading walks them, and to insert one touches no bucket. Where posts come or go in
//! a counted range, a trigger adds a row to `post_block_changes`; a bucket plus the changes in its range is exact in
//! every snapshot. Only [`maintain`] writes buckets, from posts and changes of one snapshot, so it waits for no writer.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _, Queryable, Selectable, pg::Pg, sqlite::Sqlite};
use domain::{Error, page::PageRequest, users::UserId};

use crate::{
    connection::{Connection, columns},
    error::DbError,
    paging::{FAR_FUTURE, upper_bound},
    post_row::post_columns,
    schema::{Timestamp, post_blocks},
    sql::{
        row::row,
        statement::{Statement, statements},
    },
};

// Numbers that the statements contain, where the planner has to know them.
macro_rules! bucket_size {
    () => {
        1_000
    };
}
macro_rules! max_counted_posts {
    () => {
        20_000
    };
}
macro_rules! max_applied_changes {
    () => {
        5_000
    };
}

/// The number of posts in a new bucket. One with more than twice as many is split, two neighbors with no more together
/// are merged.
const BUCKET_SIZE: i32 = bucket_size!();
/// The number of posts that one step counts at most.
const MAX_COUNTED_POSTS: i64 = max_counted_posts!();
/// The number of changes that one step applies at most.
const MAX_APPLIED_CHANGES: i64 = max_applied_changes!();
/// The number of buckets that one step merges at most.
const MAX_MERGES: i64 = 50;
/// The number of posts up to which walking the feed is as cheap as reading the buckets.
pub(crate) const MAX_WALK: i64 = 2_000;

row! {
    /// A position in the feed.
    #[derive(Clone, Copy, Queryable, Selectable)]
    #[diesel(table_name = post_blocks, check_for_backend(Pg, Sqlite))]
    struct FeedPosition {
        created_at: DateTime<Utc>,
        id: i64,
    }
}

/// Below every post: the beginning of the year 1.
const BOTTOM: FeedPosition = match DateTime::from_timestamp(-62_135_596_800, 0) {
    Some(created_at) => FeedPosition { created_at, id: 0 },
    None => FeedPosition { created_at: DateTime::<Utc>::MIN_UTC, id: 0 },
};

row! {
    /// Two neighboring buckets.
    struct Neighbors {
        created_at: DateTime<Utc>,
        id: i64,
        newer_at: DateTime<Utc>,
        newer_id: i64,
        posts: i32,
    }
}

/// The position of the newest bucket, for `<=` and `>`; null if there is none.
macro_rules! newest {
    () => {
        "((SELECT created_at FROM post_blocks ORDER BY created_at DESC, id DESC LIMIT 1),
          (SELECT id FROM post_blocks ORDER BY created_at DESC, id DESC LIMIT 1))"
    };
}

type At = DateTime<Utc>;

statements! {
    // A transaction that has `posts` open may have stored a post just after it began; later ones store none that is older
    // than now. The triggers note changes of posts that are older than one minute; the other minutes are for a clock that
    // is set back.
    Postgres: COUNTABLE_BEFORE() =
        "SELECT least(statement_timestamp(), min(a.xact_start)) - interval '5 minutes' AS now
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'relation' AND l.relation = 'posts'::regclass AND l.mode = 'RowExclusiveLock'
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         HAVING coalesce(bool_and(l.pid IS NOT NULL
           AND (a.pid IS NULL OR a.xact_start IS NOT NULL OR coalesce(a.state = 'idle', false))), true)";
    Both: BUCKET_SURPLUS(At, i64, At, i64, At, i64, At, i64, At, i64) =
        "SELECT CAST((SELECT posts FROM post_blocks WHERE created_at = ? AND id = ?)
           + (SELECT coalesce(sum(change), 0) FROM post_block_changes
             WHERE (created_at, id) > (?, ?) AND (created_at, id) <= (?, ?))
           - (SELECT count(*) FROM posts
             WHERE NOT is_private AND (created_at, id) > (?, ?) AND (created_at, id) <= (?, ?)) AS bigint) AS surplus";
    Both: OLDER_BUCKET(At, i64) =
        "SELECT created_at, id FROM post_blocks WHERE (created_at, id) < (?, ?)
         ORDER BY created_at DESC, id DESC LIMIT 1";
    Both: LAST_CHANGE_TO_APPLY() = concat!(
        "SELECT created_at, id FROM (SELECT created_at, id FROM post_block_changes WHERE (created_at, id) <= ", newest!(),
        " ORDER BY created_at, id LIMIT ", max_applied_changes!(), ") AS oldest ORDER BY created_at DESC, id DESC LIMIT 1"
    );
    Both: APPLY_CHANGES(At, i64) =
        "UPDATE post_blocks SET posts = posts + applied.change FROM (
           SELECT at, id, CAST(sum(change) AS integer) AS change FROM (
             SELECT (SELECT b.created_at FROM post_blocks b WHERE (b.created_at, b.id) >= (c.created_at, c.id)
                 ORDER BY b.created_at, b.id LIMIT 1) AS at,
               (SELECT b.id FROM post_blocks b WHERE (b.created_at, b.id) >= (c.created_at, c.id)
                 ORDER BY b.created_at, b.id LIMIT 1) AS id,
               c.change
             FROM post_block_changes c WHERE (c.created_at, c.id) <= (?, ?)) AS placed
           GROUP BY at, id) AS applied
         WHERE post_blocks.created_at = applied.at AND post_blocks.id = applied.id";
    Both: CREATE_BUCKETS(i32, At, i64, At, i64) = concat!(
        "INSERT INTO post_blocks (created_at, id, posts)
         SELECT created_at, id, ? FROM (
           SELECT created_at, id, row_number() OVER (ORDER BY created_at, id) AS number FROM (
             SELECT created_at, id FROM posts
             WHERE NOT is_private AND (created_at, id) > (?, ?) AND (created_at, id) < (?, ?)
             ORDER BY created_at, id LIMIT ", max_counted_posts!(), ") AS oldest) AS numbered
         WHERE number % ", bucket_size!(), " = 0"
    );
    Both: NEWEST_BUCKET_BETWEEN(At, i64, At, i64) =
        "SELECT created_at, id FROM post_blocks WHERE (created_at, id) > (?, ?) AND (created_at, id) < (?, ?)
         ORDER BY created_at DESC, id DESC LIMIT 1";
    Both: SUM_CHANGES(At, i64, At, i64) =
        "SELECT CAST(coalesce(sum(change), 0) AS bigint) AS sum FROM post_block_changes
         WHERE (created_at, id) > (?, ?) AND (created_at, id) <= (?, ?)";
    Both: DELETE_CHANGES(At, i64, At, i64) =
        "DELETE FROM post_block_changes WHERE (created_at, id) > (?, ?) AND (created_at, id) <= (?, ?)";
    Both: NEIGHBORS_TO_MERGE() = concat!(
        "SELECT created_at, id, newer_at, newer_id, posts FROM (
           SELECT created_at, id, posts, lead(created_at) OVER newer AS newer_at, lead(id) OVER newer AS newer_id,
             lead(posts) OVER newer AS newer_posts
           FROM post_blocks WINDOW newer AS (ORDER BY created_at, id)) AS pairs
         WHERE posts + newer_posts <= ", bucket_size!(), " ORDER BY created_at, id LIMIT 1"
    );
    // One snapshot. The buckets say how many public posts are newer than each of their positions; the viewer's private
    // posts, few, count one by one; the posts above all buckets count as one bucket. The walk begins at the last position
    // that has no more posts before it than the page.
    Both: FAR_PAGE(i64, At, i64, i64, i64, i64, i64, i64, i64, i64, i64) = concat!(
        "WITH total AS (SELECT CAST((SELECT coalesce(sum(posts), 0) FROM public_post_counters)
           + coalesce((SELECT private_posts FROM user_counters WHERE user_id = ?), 0) AS bigint) AS total),
         positions AS (
           SELECT ? AS created_at, ? AS id, 1 AS is_bucket, (SELECT CAST(count(*) AS integer) FROM posts
             WHERE NOT is_private AND (created_at, id) > ", newest!(), ") AS posts
           UNION ALL SELECT created_at, id, 1, posts FROM post_blocks
           UNION ALL SELECT created_at, id, 0, change FROM post_block_changes WHERE (created_at, id) <= ", newest!(), "
           UNION ALL SELECT created_at, id, 0, 1 FROM posts WHERE is_private AND user_id = ?),
         counted AS (SELECT created_at, id, is_bucket, coalesce(sum(posts) OVER (
             ORDER BY created_at DESC, id DESC, is_bucket DESC
             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS newer FROM positions),
         start AS MATERIALIZED (SELECT created_at, id, newer FROM counted
           WHERE is_bucket = 1 AND newer <= ? ORDER BY created_at, id LIMIT 1),
         page AS (SELECT id, created_at FROM (
             SELECT * FROM (SELECT id, created_at FROM posts WHERE NOT is_private
                 AND (created_at, id) <= ((SELECT created_at FROM start), (SELECT id FROM start))
               ORDER BY created_at DESC, id DESC LIMIT (SELECT ? - newer FROM start)) AS public
             UNION ALL
             SELECT * FROM (SELECT id, created_at FROM posts WHERE is_private AND user_id = ?
                 AND (created_at, id) <= ((SELECT created_at FROM start), (SELECT id FROM start))
               ORDER BY created_at DESC, id DESC LIMIT (SELECT ? - newer FROM start)) AS private
           ) AS visible
           ORDER BY created_at DESC, id DESC LIMIT ? OFFSET (SELECT ? - newer FROM start))
         SELECT total.total, ", post_columns!(), "
         FROM total LEFT JOIN page ON true
         LEFT JOIN posts p ON p.id = page.id
         ORDER BY page.created_at DESC, page.id DESC"
    );
}

/// Does one step of the work on the buckets, in a transaction of its own. Posts older than `countable_before` must no
/// longer change unnoticed. Returns whether there may be more to do; `None` if a bucket was wrong and all were deleted.
pub(crate) async fn maintain(
    tx: &mut Connection<'_>,
    countable_before: DateTime<Utc>,
) -> Result<Option<bool>, DbError> {
    if let Connection::Postgres(_) = tx {
        // One process at a time, and one snapshot of all rows: the lock comes before the snapshot.
        for command in [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "LOCK TABLE post_blocks IN SHARE ROW EXCLUSIVE MODE",
        ] {
            tx.execute(diesel::sql_query(command)).await?;
        }
    }
    if !is_random_bucket_right(tx).await? {
        tx.execute(diesel::delete(post_blocks::table)).await?;
        return Ok(None);
    }
    let applied = apply_changes(tx).await?;
    let added = add_buckets(tx, countable_before).await?;
    let split = split_bucket(tx).await?;
    let merged = merge_buckets(tx).await?;
    Ok(Some(applied || added || split || merged))
}

/// Returns the error that reports deleted buckets. Without them, pages are walked, and so right.
pub(crate) fn wrong_buckets() -> DbError {
    DbError(Error::internal("the feed index was wrong and is built anew"))
}

/// Returns the time before which posts no longer change unnoticed; `None` if that is unknown just now.
///
/// On SQLite every change in a bucket is noticed.
pub(crate) async fn countable_before(conn: &mut Connection<'_>) -> Result<Option<DateTime<Utc>>, DbError> {
    match conn {
        Connection::Postgres(_) => COUNTABLE_BEFORE.with(()).first(conn).await,
        Connection::Sqlite(_) => Ok(Some(FAR_FUTURE)),
    }
}

/// Counts one bucket again. The server makes no wrong one; a restore of data alone, with or without the triggers, may.
async fn is_random_bucket_right(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    let random = post_blocks::table
        .order(diesel::dsl::sql::<diesel::sql_types::Double>("random()"))
        .limit(1)
        .select(columns::<FeedPosition>());
    let Some(bucket) = tx.first::<FeedPosition, _>(random).await? else { return Ok(true) };
    let (at, id) = (bucket.created_at, bucket.id);
    let from = older_bucket(tx, bucket).await?;
    let (from_at, from_id) = (from.created_at, from.id);
    let surplus = BUCKET_SURPLUS.with((at, id, from_at, from_id, at, id, from_at, from_id, at, id));
    Ok(surplus.first::<i64>(tx).await? == Some(0))
}

async fn older_bucket(tx: &mut Connection<'_>, position: FeedPosition) -> Result<FeedPosition, DbError> {
    let older = OLDER_BUCKET.with((position.created_at, position.id));
    Ok(older.first(tx).await?.unwrap_or(BOTTOM))
}

async fn add_posts(tx: &mut Connection<'_>, at: DateTime<Utc>, id: i64, posts: i32) -> Result<(), DbError> {
    let add = diesel::update(post_blocks::table.find((Timestamp(at), id)))
        .set(post_blocks::posts.eq(post_blocks::posts + posts));
    tx.execute(add).await?;
    Ok(())
}

/// Adds changes to the buckets of their range.
async fn apply_changes(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    let Some(last) = LAST_CHANGE_TO_APPLY.with(()).first::<FeedPosition>(tx).await? else { return Ok(false) };
    APPLY_CHANGES.with((last.created_at, last.id)).execute(tx).await?;
    let delete = DELETE_CHANGES.with((BOTTOM.created_at, BOTTOM.id, last.created_at, last.id));
    Ok(delete.execute(tx).await? >= MAX_APPLIED_CHANGES)
}

/// Makes buckets of the posts above the newest one that were stored before `before`.
async fn add_buckets(tx: &mut Connection<'_>, before: DateTime<Utc>) -> Result<bool, DbError> {
    let newest = post_blocks::table
        .order((post_blocks::created_at.desc(), post_blocks::id.desc()))
        .limit(1)
        .select(columns::<FeedPosition>());
    let from = tx.first::<FeedPosition, _>(newest).await?.unwrap_or(BOTTOM);
    let created = create_buckets(tx, from, FeedPosition { created_at: before, id: 0 }).await?;
    Ok(created.is_some_and(|created| created.posts == MAX_COUNTED_POSTS))
}

/// Splits the oldest bucket that has become too large.
async fn split_bucket(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    let large = post_blocks::table
        .filter(post_blocks::posts.gt(2 * BUCKET_SIZE))
        .order((post_blocks::created_at, post_blocks::id))
        .limit(1)
        .select(columns::<FeedPosition>());
    let Some(large) = tx.first::<FeedPosition, _>(large).await? else { return Ok(false) };
    let from = older_bucket(tx, large).await?;
    let Some(created) = create_buckets(tx, from, large).await? else { return Ok(false) };
    let left = i32::try_from(created.changes - created.posts).map_err(Error::internal)?;
    add_posts(tx, large.created_at, large.id, left).await?;
    Ok(true)
}

/// What new buckets were made of.
struct CreatedBuckets {
    /// The number of posts in them.
    posts: i64,
    /// The sum of the changes in their range, which are deleted.
    changes: i64,
}

/// Makes buckets of the oldest posts between two positions; `None` if there are too few.
async fn create_buckets(
    tx: &mut Connection<'_>,
    from: FeedPosition,
    to: FeedPosition,
) -> Result<Option<CreatedBuckets>, DbError> {
    let create = CREATE_BUCKETS.with((BUCKET_SIZE, from.created_at, from.id, to.created_at, to.id));
    let created = create.execute(tx).await?;
    let last = NEWEST_BUCKET_BETWEEN.with((from.created_at, from.id, to.created_at, to.id));
    let Some(last) = last.first::<FeedPosition>(tx).await? else { return Ok(None) };
    let range = (from.created_at, from.id, last.created_at, last.id);
    let changes = SUM_CHANGES.with(range).first::<i64>(tx).await?.unwrap_or(0);
    DELETE_CHANGES.with(range).execute(tx).await?;
    Ok(Some(CreatedBuckets { posts: created * i64::from(BUCKET_SIZE), changes }))
}

/// Merges small buckets into their newer neighbors.
async fn merge_buckets(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    for _ in 0..MAX_MERGES {
        let Some(small) = NEIGHBORS_TO_MERGE.with(()).first::<Neighbors>(tx).await? else { return Ok(false) };
        tx.execute(diesel::delete(post_blocks::table.find((Timestamp(small.created_at), small.id)))).await?;
        add_posts(tx, small.newer_at, small.newer_id, small.posts).await?;
    }
    Ok(true)
}

/// Returns the query of a feed page by number, far back.
pub(crate) fn far_page(viewer: UserId, page: PageRequest) -> Statement {
    // Behind the end of every list, and safe to add to.
    let offset = page.offset().min(1 << 60);
    let size = page.size.get() + 1;
    let (viewer, top, end) = (viewer.0, upper_bound(page), offset + size);
    FAR_PAGE.with((viewer, top.at, top.id, viewer, offset, end, viewer, end, size, offset, viewer))
}
