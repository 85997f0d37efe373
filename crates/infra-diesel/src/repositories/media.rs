//! Which files belong to posts, and which are owed a deletion.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    media::{MediaAccess, MediaKey, MediaRepository},
    users::UserId,
};

use super::{
    super::Connection,
    Repositories, TextRow,
    row::{Backend, Columns, row},
    statement::{Literal, Statement, sql},
};
use crate::error::Fault;

row! {
    struct AccessRow {
        user_id: i64,
        is_private: bool,
    }
}

/// Owes the deletion of a file from `due` on.
pub(super) async fn owe(conn: &mut Connection, key: &str, due: DateTime<Utc>) -> Result<(), Fault> {
    sql!(
        "INSERT INTO media_deletions (media_key, due_at) VALUES (?, ?)
         ON CONFLICT (media_key) DO UPDATE SET due_at = excluded.due_at",
        key,
        due
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Strikes a deletion out; whether it was still owed.
pub(super) async fn settle(conn: &mut Connection, key: &str) -> Result<bool, Fault> {
    Ok(sql!("DELETE FROM media_deletions WHERE media_key = ?", key).execute(conn).await? > 0)
}

#[async_trait]
impl MediaRepository for Repositories {
    async fn access(&self, key: MediaKey) -> Result<Option<MediaAccess>> {
        let mut conn = self.reader().await?;
        let found = sql!("SELECT user_id, is_private FROM posts WHERE media_key = ?", key.0);
        Ok(found
            .first::<AccessRow, _>(&mut conn)
            .await?
            .map(|row| MediaAccess { owner: UserId(row.user_id), is_private: row.is_private }))
    }

    async fn schedule_deletion(&self, key: MediaKey, due: DateTime<Utc>) -> Result<()> {
        Ok(autocommit!(self, |conn| { owe(conn, &key.0, due).await })?)
    }

    async fn claim_deletions(
        &self,
        at: DateTime<Utc>,
        retry_at: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<MediaKey>> {
        let claimed = sql!(
            "UPDATE media_deletions SET due_at = ?
             WHERE due_at <= ? AND media_key IN (
               SELECT media_key FROM media_deletions WHERE due_at <= ? ORDER BY due_at LIMIT ?)
             RETURNING media_key AS value",
            retry_at,
            at,
            at,
            Literal(limit)
        );
        let rows = autocommit!(self, |conn| { claimed.load::<TextRow, _>(conn).await })?;
        Ok(rows.into_iter().map(|row| MediaKey(row.value)).collect())
    }

    async fn ack_deletion(&self, key: MediaKey) -> Result<()> {
        autocommit!(self, |conn| { settle(conn, &key.0).await })?;
        Ok(())
    }
}
