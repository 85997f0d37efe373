//! Blocks of the feed: how many public posts lie where, so that a page far back is found without walking to it.
//!
//! A block has the public posts up to its own place that no older block has. What is newer than the newest block is
//! open: it is walked, and an insert there touches nothing. Where posts come or go below, a trigger notes the change,
//! in a row of its own; a block and the changes in its range are what its posts are, in every snapshot. Only
//! [`tend`] writes blocks, always as many posts and changes as one snapshot has: so it waits for nobody.

use chrono::{DateTime, Utc};
use domain::{Error, page::PageRequest, users::UserId};

use super::{FAR_FUTURE, NumberRow, posts::post_columns, upper_bound};
use crate::{
    connection::Connection,
    error::DbError,
    sql::{
        row::row,
        statement::{Literal, Statement, sql},
    },
};

/// How many posts a block is made of. Twice as many are split, two with no more together become one.
const BLOCK: i64 = 1_000;
/// How many posts one step counts, and how many changes it adds up, at most.
const POSTS: i64 = 20 * BLOCK;
const CHANGES: i64 = 5_000;
/// How many blocks one step takes into others at most.
const MERGES: i64 = 50;
/// How far into the feed walking is as cheap as looking into the blocks.
pub(crate) const NEAR: i64 = 2_000;

row! {
    /// A place in the feed.
    #[derive(Clone, Copy)]
    struct Place {
        created_at: DateTime<Utc>,
        id: i64,
    }
}

/// Below every post: when the year 1 began.
const BOTTOM: Place = match DateTime::from_timestamp(-62_135_596_800, 0) {
    Some(created_at) => Place { created_at, id: 0 },
    None => Place { created_at: DateTime::<Utc>::MIN_UTC, id: 0 },
};

row! {
    /// Two blocks side by side, by their places.
    struct Neighbours {
        created_at: DateTime<Utc>,
        id: i64,
        newer_at: DateTime<Utc>,
        newer_id: i64,
        posts: i64,
    }
}

/// The place of the newest block, for `<=` and `>`; null where there is none.
macro_rules! newest {
    () => {
        "((SELECT created_at FROM post_blocks ORDER BY created_at DESC, id DESC LIMIT 1),
          (SELECT id FROM post_blocks ORDER BY created_at DESC, id DESC LIMIT 1))"
    };
}

/// Does some of what is to be done to the blocks, in a transaction of its own, where posts from before `settled` no
/// longer change without a trace. Whether more may be left; nothing if a block was wrong, and all are gone.
pub(crate) async fn tend(tx: &mut Connection<'_>, settled: DateTime<Utc>) -> Result<Option<bool>, DbError> {
    if let Connection::Postgres(_) = tx {
        // Only one process counts at a time, and sees one state of all rows: the lock comes before the snapshot.
        for text in [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "LOCK TABLE post_blocks IN SHARE ROW EXCLUSIVE MODE",
        ] {
            Statement::plain(text).execute(tx).await?;
        }
    }
    if !check(tx).await? {
        sql!("DELETE FROM post_blocks").execute(tx).await?;
        return Ok(None);
    }
    let folded = fold(tx).await?;
    let sealed = seal(tx, settled).await?;
    let split = split(tx).await?;
    let merged = merge(tx).await?;
    Ok(Some(folded || sealed || split || merged))
}

/// Returns the time before which posts no longer change without a trace; `None` if that is unknown just now.
///
/// On PostgreSQL a post is new for one minute (see the triggers in `migrations/`). A transaction that has `posts` open may
/// have stored something new just after it began; later ones store nothing that is older than now. The other minutes are
/// for a clock that is set back. On SQLite every change in a bucket leaves a trace.
pub(crate) async fn settled(conn: &mut Connection<'_>) -> Result<Option<DateTime<Utc>>, DbError> {
    if let Connection::Sqlite(_) = conn {
        return Ok(Some(FAR_FUTURE));
    }
    let now = sql!(
        "SELECT least(statement_timestamp(), min(a.xact_start)) - interval '5 minutes' AS now
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'relation' AND l.relation = 'posts'::regclass AND l.mode = 'RowExclusiveLock'
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         HAVING coalesce(bool_and(l.pid IS NOT NULL
           AND (a.pid IS NULL OR a.xact_start IS NOT NULL OR coalesce(a.state = 'idle', false))), true)"
    );
    Ok(now.first::<ClockRow>(conn).await?.map(|row| row.now))
}

row! {
    struct ClockRow {
        now: DateTime<Utc>,
    }
}

/// What [`tend`] says once it is committed: an error if a block was wrong. What is open is walked, and so right.
pub(crate) fn tended(more: Option<bool>) -> Result<bool, DbError> {
    more.ok_or_else(|| DbError(Error::internal("blocks of the feed were wrong and are made anew")))
}

/// Counts one block again, whichever. Nothing here makes a wrong one; a restore of data alone, past the triggers or
/// through them, may.
async fn check(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    let block = sql!("SELECT created_at, id FROM post_blocks ORDER BY random() LIMIT 1");
    let Some(block) = block.first::<Place>(tx).await? else { return Ok(true) };
    let from = older(tx, block).await?;
    let surplus = sql!(
        "SELECT CAST((SELECT posts FROM post_blocks WHERE created_at = ? AND id = ?)
           + (SELECT coalesce(sum(change), 0) FROM post_block_changes
             WHERE (created_at, id) > (?, ?) AND (created_at, id) <= (?, ?))
           - (SELECT count(*) FROM posts
             WHERE NOT is_private AND (created_at, id) > (?, ?) AND (created_at, id) <= (?, ?)) AS bigint) AS value",
        block.created_at,
        block.id,
        from.created_at,
        from.id,
        block.created_at,
        block.id,
        from.created_at,
        from.id,
        block.created_at,
        block.id
    );
    Ok(surplus.first::<NumberRow>(tx).await?.is_some_and(|row| row.value == 0))
}

/// The place of the block before this one.
async fn older(tx: &mut Connection<'_>, place: Place) -> Result<Place, DbError> {
    let older = sql!(
        "SELECT created_at, id FROM post_blocks WHERE (created_at, id) < (?, ?)
         ORDER BY created_at DESC, id DESC LIMIT 1",
        place.created_at,
        place.id
    );
    Ok(older.first(tx).await?.unwrap_or(BOTTOM))
}

/// Adds changes to the blocks that they lie in.
async fn fold(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    let last = sql!(
        concat!(
            "SELECT created_at, id FROM (SELECT created_at, id FROM post_block_changes WHERE (created_at, id) <= ",
            newest!(),
            " ORDER BY created_at, id LIMIT ?) AS oldest ORDER BY created_at DESC, id DESC LIMIT 1"
        ),
        Literal(CHANGES)
    );
    let Some(last) = last.first::<Place>(tx).await? else { return Ok(false) };
    sql!(
        "UPDATE post_blocks SET posts = posts + folded.change FROM (
           SELECT at, id, CAST(sum(change) AS integer) AS change FROM (
             SELECT (SELECT b.created_at FROM post_blocks b WHERE (b.created_at, b.id) >= (c.created_at, c.id)
                 ORDER BY b.created_at, b.id LIMIT 1) AS at,
               (SELECT b.id FROM post_blocks b WHERE (b.created_at, b.id) >= (c.created_at, c.id)
                 ORDER BY b.created_at, b.id LIMIT 1) AS id,
               c.change
             FROM post_block_changes c WHERE (c.created_at, c.id) <= (?, ?)) AS placed
           GROUP BY at, id) AS folded
         WHERE post_blocks.created_at = folded.at AND post_blocks.id = folded.id",
        last.created_at,
        last.id
    )
    .execute(tx)
    .await?;
    let gone =
        sql!("DELETE FROM post_block_changes WHERE (created_at, id) <= (?, ?)", last.created_at, last.id);
    Ok(gone.execute(tx).await? >= CHANGES)
}

/// Makes blocks of what is open and was settled before `before`.
async fn seal(tx: &mut Connection<'_>, before: DateTime<Utc>) -> Result<bool, DbError> {
    let newest = sql!("SELECT created_at, id FROM post_blocks ORDER BY created_at DESC, id DESC LIMIT 1");
    let from = newest.first(tx).await?.unwrap_or(BOTTOM);
    let cut = cut(tx, from, Place { created_at: before, id: 0 }).await?;
    Ok(cut.is_some_and(|cut| cut.posts == POSTS))
}

/// Makes several blocks of the oldest one that has become too large.
async fn split(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    let large = sql!(
        "SELECT created_at, id FROM post_blocks WHERE posts > ? ORDER BY created_at, id LIMIT 1",
        Literal(2 * BLOCK)
    );
    let Some(large) = large.first::<Place>(tx).await? else { return Ok(false) };
    let from = older(tx, large).await?;
    let Some(cut) = cut(tx, from, large).await? else { return Ok(false) };
    sql!(
        "UPDATE post_blocks SET posts = posts + CAST(? AS integer) WHERE created_at = ? AND id = ?",
        cut.changes - cut.posts,
        large.created_at,
        large.id
    )
    .execute(tx)
    .await?;
    Ok(true)
}

/// What new blocks were made of.
struct Cut {
    /// The posts in them.
    posts: i64,
    /// The sum of the changes in their range, which are gone.
    changes: i64,
}

/// Makes blocks of the oldest posts between two places; none if there are too few.
async fn cut(tx: &mut Connection<'_>, from: Place, to: Place) -> Result<Option<Cut>, DbError> {
    let made = sql!(
        "INSERT INTO post_blocks (created_at, id, posts)
         SELECT created_at, id, ? FROM (
           SELECT created_at, id, row_number() OVER (ORDER BY created_at, id) AS number FROM (
             SELECT created_at, id FROM posts
             WHERE NOT is_private AND (created_at, id) > (?, ?) AND (created_at, id) < (?, ?)
             ORDER BY created_at, id LIMIT ?) AS oldest) AS numbered
         WHERE number % ? = 0",
        Literal(BLOCK),
        from.created_at,
        from.id,
        to.created_at,
        to.id,
        Literal(POSTS),
        Literal(BLOCK)
    );
    let made = made.execute(tx).await?;
    let last = sql!(
        "SELECT created_at, id FROM post_blocks WHERE (created_at, id) > (?, ?) AND (created_at, id) < (?, ?)
         ORDER BY created_at DESC, id DESC LIMIT 1",
        from.created_at,
        from.id,
        to.created_at,
        to.id
    );
    let Some(last) = last.first::<Place>(tx).await? else { return Ok(None) };
    let changes = sql!(
        "SELECT CAST(coalesce(sum(change), 0) AS bigint) AS value FROM post_block_changes
         WHERE (created_at, id) > (?, ?) AND (created_at, id) <= (?, ?)",
        from.created_at,
        from.id,
        last.created_at,
        last.id
    );
    let changes = changes.first::<NumberRow>(tx).await?.map_or(0, |row| row.value);
    sql!(
        "DELETE FROM post_block_changes WHERE (created_at, id) > (?, ?) AND (created_at, id) <= (?, ?)",
        from.created_at,
        from.id,
        last.created_at,
        last.id
    )
    .execute(tx)
    .await?;
    Ok(Some(Cut { posts: made * BLOCK, changes }))
}

/// Takes blocks that have become small into their newer neighbours.
async fn merge(tx: &mut Connection<'_>) -> Result<bool, DbError> {
    for _ in 0..MERGES {
        let small = sql!(
            "SELECT created_at, id, newer_at, newer_id, CAST(posts AS bigint) AS posts FROM (
               SELECT created_at, id, posts, lead(created_at) OVER newer AS newer_at, lead(id) OVER newer AS newer_id,
                 lead(posts) OVER newer AS newer_posts
               FROM post_blocks WINDOW newer AS (ORDER BY created_at, id)) AS pairs
             WHERE posts + newer_posts <= ? ORDER BY created_at, id LIMIT 1",
            Literal(BLOCK)
        );
        let Some(small) = small.first::<Neighbours>(tx).await? else { return Ok(false) };
        sql!("DELETE FROM post_blocks WHERE created_at = ? AND id = ?", small.created_at, small.id)
            .execute(tx)
            .await?;
        sql!(
            "UPDATE post_blocks SET posts = posts + CAST(? AS integer) WHERE created_at = ? AND id = ?",
            small.posts,
            small.newer_at,
            small.newer_id
        )
        .execute(tx)
        .await?;
    }
    Ok(true)
}

/// A page of the feed by its number, far back, in one snapshot. The blocks say how many of the public posts are newer
/// than each of their places, and the viewer's private posts, few, are counted one by one; what is open counts as a
/// block above all others. From the last place that has no more before it than the page has, a block is walked.
pub(crate) fn far_page(viewer: UserId, page: PageRequest) -> Statement {
    // Behind the end of every list, and safe to add to.
    let offset = page.offset().min(1 << 60);
    let wanted = page.size.get() + 1;
    let top = upper_bound(page);
    sql!(
        concat!(
            "WITH total AS (SELECT CAST((SELECT coalesce(sum(posts), 0) FROM public_post_counters)
               + coalesce((SELECT private_posts FROM user_counters WHERE user_id = ?), 0) AS bigint) AS total),
             places AS (
               SELECT ? AS created_at, ? AS id, 1 AS is_block, (SELECT CAST(count(*) AS integer) FROM posts
                 WHERE NOT is_private AND (created_at, id) > ", newest!(), ") AS posts
               UNION ALL SELECT created_at, id, 1, posts FROM post_blocks
               UNION ALL SELECT created_at, id, 0, change FROM post_block_changes WHERE (created_at, id) <= ", newest!(), "
               UNION ALL SELECT created_at, id, 0, 1 FROM posts WHERE is_private AND user_id = ?),
             counted AS (SELECT created_at, id, is_block, coalesce(sum(posts) OVER (
                 ORDER BY created_at DESC, id DESC, is_block DESC
                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS newer FROM places),
             start AS MATERIALIZED (SELECT created_at, id, newer FROM counted
               WHERE is_block = 1 AND newer <= ? ORDER BY created_at, id LIMIT 1),
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
        ),
        viewer.0, top.at, top.id, viewer.0, offset, offset + wanted, viewer.0, offset + wanted, Literal(wanted), offset,
        viewer.0
    )
}
