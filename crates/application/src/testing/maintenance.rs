//! Maintenance and health.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    accounts::RegistrationId,
    health::{Backlog, HealthRepository},
    maintenance::MaintenanceRepository,
    outbox::{DEAD_MAIL_RETENTION, MailIntent},
};

use super::store::{InMemory, QueuedMail, count};

#[async_trait]
impl MaintenanceRepository for InMemory {
    async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let mut tables = self.lock();
        let tables = &mut *tables;
        let rows = |tables: &super::store::Tables| {
            tables.registrations.len()
                + tables.reservations.len()
                + tables.sessions.len()
                + tables.resets.len()
                + tables.mails.len()
        };
        let rows_before = rows(tables);
        let is_kept =
            |mail: &QueuedMail| mail.due_at.is_some() || mail.queued_at >= before - DEAD_MAIL_RETENTION;
        tables.mails.retain(|_, mail| is_kept(mail));
        let mails = &tables.mails;
        tables.registrations.retain(|id, registration| {
            let intent = MailIntent::VerifyEmail(RegistrationId(*id));
            registration.created_at >= before
                || registration.code.as_ref().is_some_and(|(_, expires_at)| *expires_at >= before)
                || mails.values().any(|mail| mail.intent == intent && mail.due_at.is_some())
        });
        tables.reservations.retain(|_, (_, ends_at)| *ends_at >= before);
        tables.sessions.retain(|_, session| session.ends_at >= before);
        tables.resets.retain(|_, (_, _, expires_at)| *expires_at >= before);
        Ok(u64::try_from(rows_before - rows(tables)).unwrap_or(u64::MAX))
    }

    async fn delete_remains(&self) -> Result<bool> {
        Ok(false) // posts are deleted with everything
    }

    async fn count_feed_changes(&self) -> Result<()> {
        Ok(())
    }

    async fn check_feed_index(&self) -> Result<()> {
        Ok(())
    }

    async fn forget_changed_users(&self, _at: DateTime<Utc>) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl HealthRepository for InMemory {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog> {
        let tables = self.lock();
        let pending = || tables.mails.values().filter(|mail| mail.due_at.is_some());
        Ok(Backlog {
            pending_mails: count(pending()),
            oldest_mail_at: pending().map(|mail| mail.queued_at).min(),
            dead_mails: count(tables.mails.values().filter(|mail| mail.due_at.is_none())),
            pending_media_deletions: count(tables.deletions.iter()),
        })
    }
}
