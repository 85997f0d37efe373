//! The files of posts, and the scheduled deletions of files.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _, upsert::excluded};
use domain::{
    Result,
    media::{MediaAccess, MediaKey, MediaRepository, MediaReservation},
    users::UserId,
};

use crate::{
    connection::Connection,
    db::Repositories,
    error::DbError,
    schema::{Timestamp, media_deletions, posts, user_counters},
    sqlite::writer::Importance,
};

/// Schedules the deletion of a file.
pub(crate) async fn schedule_deletion(
    conn: &mut Connection<'_>,
    key: &str,
    due: DateTime<Utc>,
) -> Result<(), DbError> {
    let schedule = diesel::insert_into(media_deletions::table)
        .values((media_deletions::media_key.eq(key), media_deletions::due_at.eq(Timestamp(due))))
        .on_conflict(media_deletions::media_key)
        .do_update()
        .set(media_deletions::due_at.eq(excluded(media_deletions::due_at)));
    conn.execute(schedule).await?;
    Ok(())
}

/// Cancels the scheduled deletion of a file that a post gets. Returns its size, which counts for the owner already; `None`
/// for a copy.
pub(crate) async fn cancel_deletion(conn: &mut Connection<'_>, key: &str) -> Result<Option<i64>, DbError> {
    let cancel = diesel::delete(media_deletions::table.find(key)).returning(media_deletions::bytes);
    Ok(conn.first::<Option<i64>, _>(cancel).await?.flatten())
}

/// Adds to the bytes of a user's files.
pub(crate) async fn count_media(
    tx: &mut Connection<'_>,
    owner: UserId,
    more_bytes: i64,
) -> Result<(), DbError> {
    let count = diesel::update(user_counters::table.find(owner.0))
        .set(user_counters::media_bytes.eq(user_counters::media_bytes + more_bytes));
    tx.execute(count).await?;
    Ok(())
}

/// Counts the file and schedules its deletion, unless the quota would be exceeded. The update locks the row, so that of
/// concurrent calls each sees the others' bytes.
async fn reserve(tx: &mut Connection<'_>, file: MediaReservation) -> Result<bool, DbError> {
    let bytes = signed(file.bytes);
    let mut allowed = signed(file.quota.unwrap_or(u64::MAX));
    if let Some(MediaKey(key)) = file.replaces {
        let own = posts::table.filter(posts::media_key.eq(key)).filter(posts::user_id.eq(file.owner.0));
        let replaced: Option<i64> = tx.first(own.select(posts::media_bytes)).await?;
        allowed = allowed.saturating_add(replaced.unwrap_or(0));
    }
    let count = diesel::update(user_counters::table.find(file.owner.0))
        .filter(user_counters::media_bytes.le(allowed - bytes))
        .set(user_counters::media_bytes.eq(user_counters::media_bytes + bytes));
    if tx.execute(count).await? == 0 {
        return Ok(false);
    }
    let schedule = diesel::insert_into(media_deletions::table).values((
        media_deletions::media_key.eq(file.key.0),
        media_deletions::due_at.eq(Timestamp(file.due_at)),
        media_deletions::owner_id.eq(file.owner.0),
        media_deletions::bytes.eq(bytes),
    ));
    tx.execute(schedule).await?;
    Ok(true)
}

/// Removes the deletion of a file that has been deleted, which then no longer counts. Locks the counter first, as all
/// transactions do.
async fn ack_deletion(tx: &mut Connection<'_>, key: &str) -> Result<(), DbError> {
    let scheduled =
        media_deletions::table.find(key).select((media_deletions::owner_id, media_deletions::bytes));
    let reserved = match tx.first::<(Option<i64>, Option<i64>), _>(scheduled).await? {
        Some((Some(owner), Some(bytes))) => Some((UserId(owner), bytes)),
        _ => None,
    };
    if let Some((owner, bytes)) = reserved {
        count_media(tx, owner, -bytes).await?;
    }
    let deleted = tx.execute(diesel::delete(media_deletions::table.find(key))).await?;
    if let Some((owner, bytes)) = reserved.filter(|_| deleted == 0) {
        // A post got the file meanwhile.
        count_media(tx, owner, bytes).await?;
    }
    Ok(())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[async_trait]
impl MediaRepository for Repositories {
    async fn find_access(&self, key: MediaKey) -> Result<Option<MediaAccess>> {
        let query =
            posts::table.filter(posts::media_key.eq(key.0)).select((posts::user_id, posts::is_private));
        let row: Option<(i64, bool)> = self.db.first(query).await?;
        Ok(row.map(|(owner, is_private)| MediaAccess { owner: UserId(owner), is_private }))
    }

    async fn reserve(&self, file: MediaReservation) -> Result<bool> {
        Ok(self.db.transaction(async move |tx: &mut Connection<'_>| reserve(tx, file).await).await?)
    }

    async fn release(&self, key: MediaKey, at: DateTime<Utc>) -> Result<()> {
        let release =
            diesel::update(media_deletions::table.find(key.0)).set(media_deletions::due_at.eq(Timestamp(at)));
        self.db.execute(release).await?;
        Ok(())
    }

    async fn schedule_deletion(&self, key: MediaKey, due: DateTime<Utc>) -> Result<()> {
        let work = async move |conn: &mut Connection<'_>| schedule_deletion(conn, &key.0, due).await;
        Ok(self.db.write(work).await?)
    }

    async fn claim_deletions(
        &self,
        at: DateTime<Utc>,
        retry_at: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<MediaKey>> {
        let due = diesel::alias!(media_deletions as due);
        let due_at = due.field(media_deletions::due_at);
        let keys = due
            .filter(due_at.le(Timestamp(at)))
            .order(due_at)
            .limit(limit)
            .select(due.field(media_deletions::media_key));
        let claim = diesel::update(media_deletions::table)
            .filter(media_deletions::due_at.le(Timestamp(at)))
            .filter(media_deletions::media_key.eq_any(keys))
            .set(media_deletions::due_at.eq(Timestamp(retry_at)))
            .returning(media_deletions::media_key);
        let keys: Vec<String> = self
            .db
            .write_as(Importance::Essential, async move |conn: &mut Connection<'_>| conn.load(claim).await)
            .await?;
        Ok(keys.into_iter().map(MediaKey).collect())
    }

    async fn ack_deletion(&self, key: MediaKey) -> Result<()> {
        let work = async move |tx: &mut Connection<'_>| ack_deletion(tx, &key.0).await;
        Ok(self.db.transaction_as(Importance::Essential, work).await?)
    }
}
