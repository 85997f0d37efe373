//! Housekeeping.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Result, maintenance::MaintenanceRepository};

use super::{
    NumberRow, Repositories,
    statement::{Statement, sql},
};

#[async_trait]
impl MaintenanceRepository for Repositories {
    async fn sweep(&self, before: DateTime<Utc>) -> Result<u64> {
        let mut conn = self.writer().await?;
        let mut swept = 0;
        // A registration whose mail is still owed must wait for it.
        for statement in [
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
        ] {
            swept += statement.execute(&mut conn).await?.unsigned_abs();
        }
        Ok(swept)
    }

    async fn ready(&self) -> Result<()> {
        let mut conn = self.reader().await?;
        sql!("SELECT count(*) AS value FROM public_post_counters").first::<NumberRow>(&mut conn).await?;
        Ok(())
    }
}
