//! Which files belong to posts, and which are owed a deletion.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    media::{MediaAccess, MediaKey, MediaRepository},
    users::UserId,
};

use super::{Repositories, TextRow};
use crate::{
    connection::Connection,
    error::DbError,
    sql::{
        row::row,
        statement::{Literal, Statement, sql},
    },
};

row! {
    struct AccessRow {
        user_id: i64,
        is_private: bool,
    }
}

/// Owes the deletion of a file from `due` on.
pub(crate) async fn owe(conn: &mut Connection<'_>, key: &str, due: DateTime<Utc>) -> Result<(), DbError> {
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
pub(crate) async fn settle(conn: &mut Connection<'_>, key: &str) -> Result<bool, DbError> {
    Ok(sql!("DELETE FROM media_deletions WHERE media_key = ?", key).execute(conn).await? > 0)
}

#[async_trait]
impl MediaRepository for Repositories {
    async fn find_access(&self, key: MediaKey) -> Result<Option<MediaAccess>> {
        let found = sql!("SELECT user_id, is_private FROM posts WHERE media_key = ?", key.0);
        Ok(self
            .db
            .first_row::<AccessRow>(found)
            .await?
            .map(|row| MediaAccess { owner: UserId(row.user_id), is_private: row.is_private }))
    }

    async fn schedule_deletion(&self, key: MediaKey, due: DateTime<Utc>) -> Result<()> {
        Ok(self
            .db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| owe(conn, &key.0, due).await)
            .await?)
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
        let rows = self
            .db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| {
                claimed.load::<TextRow>(conn).await
            })
            .await?;
        Ok(rows.into_iter().map(|row| MediaKey(row.value)).collect())
    }

    async fn ack_deletion(&self, key: MediaKey) -> Result<()> {
        self.db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| settle(conn, &key.0).await)
            .await?;
        Ok(())
    }
}
