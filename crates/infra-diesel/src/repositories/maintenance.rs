//! Housekeeping.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    maintenance::{Backlog, MaintenanceRepository},
};

use super::{NumberRow, Repositories, blocks};
use crate::{
    connection::Connection,
    error::DbError,
    sql::{
        row::row,
        statement::{Statement, sql},
    },
};

row! {
    struct BacklogRow {
        mails: i64,
        oldest_mail: Option<DateTime<Utc>>,
        dead_mails: i64,
        media_deletions: i64,
    }
}

impl From<BacklogRow> for Backlog {
    fn from(row: BacklogRow) -> Self {
        let BacklogRow { mails, oldest_mail, dead_mails, media_deletions } = row;
        Self { mails, oldest_mail, dead_mails, media_deletions }
    }
}

#[async_trait]
impl MaintenanceRepository for Repositories {
    async fn sweep(&self, before: DateTime<Utc>) -> Result<u64> {
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
        let Some(settled) = self.db.read(blocks::settled).await? else { return Ok(false) };
        let done: Result<_, DbError> =
            self.db.transaction(async move |tx: &mut Connection<'_>| blocks::tend(tx, settled).await).await;
        Ok(blocks::tended(done?)?)
    }

    async fn backlog(&self) -> Result<Backlog> {
        let found = sql!(
            "SELECT count(next_attempt_at) AS mails,
               min(CASE WHEN next_attempt_at IS NOT NULL THEN created_at END) AS oldest_mail,
               count(*) - count(next_attempt_at) AS dead_mails,
               (SELECT count(*) FROM media_deletions) AS media_deletions
             FROM mail_outbox"
        );
        let row = self.db.first_row::<BacklogRow>(found).await?;
        Ok(row.map_or(Backlog { mails: 0, oldest_mail: None, dead_mails: 0, media_deletions: 0 }, Into::into))
    }

    async fn ready(&self) -> Result<()> {
        let count = sql!("SELECT count(*) AS value FROM public_post_counters");
        self.db.first_row::<NumberRow>(count).await?;
        Ok(())
    }
}
