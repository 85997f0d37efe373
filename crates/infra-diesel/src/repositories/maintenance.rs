//! Background maintenance.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, NullableExpressionMethods as _, QueryDsl as _,
    dsl::{exists, not},
};
use domain::{Result, maintenance::MaintenanceRepository};

use crate::{
    connection::Connection,
    db::Repositories,
    feed_index,
    schema::{Timestamp, mail_outbox, password_resets, registrations, sessions, username_holds},
};

#[async_trait]
impl MaintenanceRepository for Repositories {
    async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64> {
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
                + conn.execute(resets).await?;
            Ok(deleted.unsigned_abs())
        };
        Ok(self.db.write(work).await?)
    }

    async fn maintain_feed_index(&self) -> Result<bool> {
        let Some(before) = self.db.read(feed_index::countable_before).await? else { return Ok(false) };
        let work = async move |tx: &mut Connection<'_>| feed_index::maintain(tx, before).await;
        // After the commit: the wrong buckets are deleted.
        Ok(self.db.transaction(work).await?.ok_or_else(feed_index::wrong_buckets)?)
    }
}
