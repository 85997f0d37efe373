//! The files of posts, and the scheduled deletions of files.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _, upsert::excluded};
use domain::{
    Result,
    media::{MediaAccess, MediaKey, MediaRepository},
    users::UserId,
};

use crate::{
    connection::Connection,
    db::Repositories,
    error::DbError,
    schema::{Timestamp, media_deletions, posts},
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

/// Cancels the scheduled deletion of a file.
pub(crate) async fn cancel_deletion(conn: &mut Connection<'_>, key: &str) -> Result<(), DbError> {
    conn.execute(diesel::delete(media_deletions::table.find(key))).await?;
    Ok(())
}

#[async_trait]
impl MediaRepository for Repositories {
    async fn find_access(&self, key: MediaKey) -> Result<Option<MediaAccess>> {
        let query =
            posts::table.filter(posts::media_key.eq(key.0)).select((posts::user_id, posts::is_private));
        let row: Option<(i64, bool)> = self.db.first(query).await?;
        Ok(row.map(|(owner, is_private)| MediaAccess { owner: UserId(owner), is_private }))
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
        let keys: Vec<String> =
            self.db.write(async move |conn: &mut Connection<'_>| conn.load(claim).await).await?;
        Ok(keys.into_iter().map(MediaKey).collect())
    }

    async fn ack_deletion(&self, key: MediaKey) -> Result<()> {
        let work = async move |conn: &mut Connection<'_>| cancel_deletion(conn, &key.0).await;
        Ok(self.db.write(work).await?)
    }
}
