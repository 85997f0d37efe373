//! The health of the database and its backlog.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    health::{Backlog, HealthRepository},
};

use super::{NumberRow, Repositories};
use crate::sql::{
    row::row,
    statement::{Statement, sql},
};

row! {
    struct BacklogRow {
        pending_mails: i64,
        oldest_mail_at: Option<DateTime<Utc>>,
        dead_mails: i64,
        pending_media_deletions: i64,
    }
}

impl From<BacklogRow> for Backlog {
    fn from(row: BacklogRow) -> Self {
        let BacklogRow { pending_mails, oldest_mail_at, dead_mails, pending_media_deletions } = row;
        Self { pending_mails, oldest_mail_at, dead_mails, pending_media_deletions }
    }
}

#[async_trait]
impl HealthRepository for Repositories {
    async fn backlog(&self) -> Result<Backlog> {
        let found = sql!(
            "SELECT count(next_attempt_at) AS pending_mails,
               min(CASE WHEN next_attempt_at IS NOT NULL THEN created_at END) AS oldest_mail_at,
               count(*) - count(next_attempt_at) AS dead_mails,
               (SELECT count(*) FROM media_deletions) AS pending_media_deletions
             FROM mail_outbox"
        );
        let row = self.db.first_row::<BacklogRow>(found).await?;
        Ok(row.map_or(
            Backlog { pending_mails: 0, oldest_mail_at: None, dead_mails: 0, pending_media_deletions: 0 },
            Into::into,
        ))
    }

    async fn check(&self) -> Result<()> {
        let count = sql!("SELECT count(*) AS value FROM public_post_counters");
        self.db.first_row::<NumberRow>(count).await?;
        Ok(())
    }
}
