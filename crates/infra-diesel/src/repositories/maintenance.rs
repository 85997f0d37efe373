//! Background maintenance.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Result, maintenance::MaintenanceRepository};

use super::Repositories;
use crate::{
    connection::Connection,
    error::DbError,
    feed_index,
    sql::statement::{Statement, sql},
};

#[async_trait]
impl MaintenanceRepository for Repositories {
    async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        // A registration whose mail is still owed must wait for it.
        let statements = [
            sql!(
                "DELETE FROM registrations WHERE created_at < ? AND coalesce(code_expires_at, created_at) < ?
                 AND NOT EXISTS (SELECT 1 FROM mail_outbox m WHERE m.registration_id = registrations.id
                   AND m.next_attempt_at IS NOT NULL)",
                before,
                before
            ),
            sql!("DELETE FROM username_holds WHERE expires_at < ?", before),
            sql!("DELETE FROM sessions WHERE ends_at < ?", before),
            sql!("DELETE FROM password_resets WHERE expires_at < ?", before),
        ];
        let done = self
            .db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| {
                let mut swept = 0;
                for statement in statements {
                    swept += statement.execute(conn).await?.unsigned_abs();
                }
                Ok(swept)
            })
            .await;
        Ok(done?)
    }

    async fn maintain_feed_index(&self) -> Result<bool> {
        let Some(before) = self.db.read(feed_index::countable_before).await? else { return Ok(false) };
        let step: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| feed_index::maintain(tx, before).await)
            .await;
        // Committed: the wrong buckets are deleted.
        Ok(step?.ok_or_else(feed_index::wrong_buckets)?)
    }
}
