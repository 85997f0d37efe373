//! Background maintenance.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, NullableExpressionMethods as _, QueryDsl as _,
    dsl::{exists, not},
};
use domain::{Error, Result, maintenance::MaintenanceRepository, outbox::DEAD_MAIL_RETENTION};

use crate::{
    connection::Connection,
    db::{Db, Repositories},
    feed_index,
    schema::{Timestamp, mail_outbox, password_resets, registrations, sessions, username_holds},
    sqlite::writer::Importance,
};

#[async_trait]
impl MaintenanceRepository for Repositories {
    async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let dead_mails = diesel::delete(mail_outbox::table)
            .filter(mail_outbox::next_attempt_at.is_null())
            .filter(mail_outbox::created_at.lt(Timestamp(before - DEAD_MAIL_RETENTION)));
        let before = Timestamp(before);
        // A registration whose mail is still pending must wait for it.
        let pending_mails = mail_outbox::table
            .filter(mail_outbox::registration_id.eq(registrations::id.nullable()))
            .filter(mail_outbox::next_attempt_at.is_not_null());
        let registrations = diesel::delete(registrations::table)
            .filter(registrations::created_at.lt(before))
            .filter(
                registrations::code_expires_at
                    .is_null()
                    .or(registrations::code_expires_at.assume_not_null().lt(before)),
            )
            .filter(not(exists(pending_mails)));
        let holds = diesel::delete(username_holds::table).filter(username_holds::expires_at.lt(before));
        let sessions = diesel::delete(sessions::table).filter(sessions::ends_at.lt(before));
        let resets = diesel::delete(password_resets::table).filter(password_resets::expires_at.lt(before));
        let work = async move |conn: &mut Connection<'_>| {
            let deleted = conn.execute(registrations).await?
                + conn.execute(holds).await?
                + conn.execute(sessions).await?
                + conn.execute(resets).await?
                + conn.execute(dead_mails).await?;
            Ok(deleted.unsigned_abs())
        };
        Ok(self.db.write_as(Importance::Essential, work).await?)
    }

    async fn count_feed_changes(&self) -> Result<()> {
        // On SQLite the triggers count.
        if let Db::Postgres(_) = self.db {
            self.db.write(feed_index::apply_changes).await?;
        }
        Ok(())
    }

    async fn check_feed_index(&self) -> Result<()> {
        self.db.write(feed_index::delete_empty_buckets).await?;
        if self.db.read(feed_index::is_random_bucket_right).await? {
            return Ok(());
        }
        self.db.transaction(feed_index::count_anew).await?;
        Err(Error::internal("the feed index was wrong and has been built anew"))
    }

    async fn forget_changed_users(&self, at: DateTime<Utc>) -> Result<()> {
        Ok(self.forget_changed_cards(at).await?)
    }
}
