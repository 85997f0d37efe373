//! The health of the database and its backlog.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, QueryDsl as _,
    dsl::{case_when, count, count_star, min},
};
use domain::{
    Result,
    health::{Backlog, HealthRepository},
};

use crate::{
    db::Repositories,
    schema::{feed_total, mail_outbox, media_deletions},
};

#[async_trait]
impl HealthRepository for Repositories {
    async fn backlog(&self) -> Result<Backlog> {
        let query = mail_outbox::table.select((
            count_star(),
            count(mail_outbox::next_attempt_at),
            min(case_when(mail_outbox::next_attempt_at.is_not_null(), mail_outbox::created_at)),
            media_deletions::table.count().single_value(),
        ));
        let row: Option<(i64, i64, Option<DateTime<Utc>>, Option<i64>)> = self.db.first(query).await?;
        let (mails, pending_mails, oldest_mail_at, deletions) = row.unwrap_or_default();
        Ok(Backlog {
            pending_mails,
            oldest_mail_at,
            dead_mails: mails - pending_mails,
            pending_media_deletions: deletions.unwrap_or(0),
        })
    }

    async fn check(&self) -> Result<()> {
        self.db.first::<i64, _>(feed_total::table.select(feed_total::posts)).await?;
        Ok(())
    }
}
