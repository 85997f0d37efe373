//! Background maintenance.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, NullableExpressionMethods as _, QueryDsl as _,
    dsl::{exists, not},
};
use domain::{Error, Result, maintenance::MaintenanceRepository, outbox::DEAD_MAIL_RETENTION};

use super::deleted_posts::{MAX_STEP, remove_some};
use crate::{
    connection::Command,
    db::{Db, Repositories},
    error::DbError,
    feed_index,
    schema::{Timestamp, mail_outbox, password_resets, registrations, sessions, username_holds},
    sqlite::writer::Importance,
};

/// Deletes up to [`MAX_STEP`] rows of a table whose time is before another. The condition holds twice, since a row may be
/// changed after it was selected.
macro_rules! expired {
    ($table:ident, $id:ident, $time:ident, $before:expr) => {{
        let old = diesel::alias!($table as old);
        let some =
            old.filter(old.field($table::$time).lt($before)).limit(MAX_STEP).select(old.field($table::$id));
        diesel::delete($table::table).filter($table::$time.lt($before)).filter($table::$id.eq_any(some))
    }};
}

impl Repositories {
    /// Executes a command that deletes up to [`MAX_STEP`] rows until there are no more. Each time is committed by itself,
    /// so that none takes long, however many there are.
    async fn delete_in_steps<Q: Command + 'static>(
        &self,
        delete: impl Fn() -> Q + Send,
    ) -> Result<i64, DbError> {
        let mut all = 0;
        loop {
            let deleted = self.db.execute_as(Importance::Essential, delete()).await?;
            all += deleted;
            if deleted < MAX_STEP {
                return Ok(all);
            }
        }
    }
}

#[async_trait]
impl MaintenanceRepository for Repositories {
    async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let dead_before = Timestamp(before - DEAD_MAIL_RETENTION);
        let before = Timestamp(before);
        let old = diesel::alias!(registrations as old_registrations);
        let expires_at = old.field(registrations::code_expires_at);
        let registrations = self.delete_in_steps(|| {
            // A registration whose mail is still pending must wait for it.
            let pending_mails = mail_outbox::table
                .filter(mail_outbox::registration_id.eq(old.field(registrations::id).nullable()))
                .filter(mail_outbox::next_attempt_at.is_not_null());
            let some = old
                .filter(old.field(registrations::created_at).lt(before))
                .filter(expires_at.is_null().or(expires_at.assume_not_null().lt(before)))
                .filter(not(exists(pending_mails)))
                .limit(MAX_STEP)
                .select(old.field(registrations::id));
            diesel::delete(registrations::table)
                .filter(
                    registrations::code_expires_at
                        .is_null()
                        .or(registrations::code_expires_at.assume_not_null().lt(before)),
                )
                .filter(registrations::id.eq_any(some))
        });
        let deleted = registrations.await?
            + self.delete_in_steps(|| expired!(username_holds, username, expires_at, before)).await?
            + self.delete_in_steps(|| expired!(sessions, id, ends_at, before)).await?
            + self.delete_in_steps(|| expired!(password_resets, user_id, expires_at, before)).await?
            + self
                .delete_in_steps(|| {
                    let dead = diesel::alias!(mail_outbox as dead_mails);
                    let some = dead
                        .filter(dead.field(mail_outbox::next_attempt_at).is_null())
                        .filter(dead.field(mail_outbox::created_at).lt(dead_before))
                        .limit(MAX_STEP)
                        .select(dead.field(mail_outbox::id));
                    diesel::delete(mail_outbox::table).filter(mail_outbox::id.eq_any(some))
                })
                .await?;
        Ok(deleted.unsigned_abs())
    }

    async fn delete_remains(&self) -> Result<bool> {
        Ok(self.db.transaction_as(Importance::Essential, remove_some).await?)
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
