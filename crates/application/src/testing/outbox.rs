//! The outbox.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    accounts::{CodeHash, RegistrationId, ResetTokenHash},
    clock::{Clock as _, SystemClock},
    outbox::{MailId, MailIntent, OutboxMail, OutboxRepository, Recipient},
    users::Email,
};

use super::store::InMemory;

#[async_trait]
impl OutboxRepository for InMemory {
    async fn claim(
        &self,
        at: DateTime<Utc>,
        leased_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<OutboxMail>> {
        let mut tables = self.lock();
        let mut due: Vec<_> = tables
            .mails
            .iter_mut()
            .filter_map(|(id, mail)| {
                mail.due_at.filter(|due_at| *due_at <= at).map(|due_at| (due_at, *id, mail))
            })
            .collect();
        due.sort_by_key(|(due_at, id, _)| (*due_at, *id));
        due.truncate(usize::try_from(limit).unwrap_or_default());
        due.sort_by_key(|(_, id, _)| *id);
        let claim = |(_, id, mail): (_, i64, &mut super::store::QueuedMail)| {
            mail.attempts += 1;
            mail.due_at = Some(leased_until);
            let (intent, attempts) = (mail.intent.clone(), mail.attempts);
            OutboxMail { id: MailId(id), intent, attempts, queued_at: mail.queued_at }
        };
        Ok(due.into_iter().map(claim).collect())
    }

    async fn reschedule(
        &self,
        email: Email,
        requested_at: DateTime<Utc>,
        due_at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let mut tables = self.lock();
        let tables = &mut *tables;
        let registrations = &tables.registrations;
        tables.mails.retain(|_, mail| {
            let is_for_email = match &mail.intent {
                MailIntent::VerifyEmail(id) => {
                    registrations.get(&id.0).is_some_and(|registration| registration.email == email.as_str())
                }
                MailIntent::ResetPassword(to) | MailIntent::AlreadyRegistered(to) => *to == email,
            };
            if !is_for_email || mail.queued_at != requested_at || mail.attempts > 0 {
                return true;
            }
            mail.due_at = due_at;
            due_at.is_some()
        });
        Ok(())
    }

    async fn issue_code(
        &self,
        registration: RegistrationId,
        code: CodeHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Recipient>> {
        let mut tables = self.lock();
        let Some(pending) = tables.registrations.get_mut(&registration.0) else { return Ok(None) };
        pending.code = Some((code, expires_at));
        pending.attempts.clear();
        let (email, username) = (pending.email.clone(), pending.username.clone());
        tables.reserve_username(&username, &email, SystemClock.now(), expires_at);
        Ok(Some(Recipient { email: Email::from_stored(email), username }))
    }

    async fn issue_reset(
        &self,
        id: MailId,
        email: Email,
        token: ResetTokenHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Recipient>> {
        let mut tables = self.lock();
        let owner = tables.users.iter().find(|(_, user)| user.email == email.as_str() && user.is_active);
        let Some((&user, username)) = owner.map(|(id, user)| (id, user.username.clone())) else {
            return Ok(None);
        };
        if tables.resets.get(&user).is_some_and(|(newer, ..)| *newer > id.0) {
            return Ok(None);
        }
        tables.resets.insert(user, (id.0, token, expires_at));
        Ok(Some(Recipient { email, username }))
    }

    async fn ack(&self, id: MailId) -> Result<()> {
        self.lock().mails.remove(&id.0);
        Ok(())
    }

    async fn retry_later(&self, id: MailId, next_at: Option<DateTime<Utc>>, _error: String) -> Result<()> {
        if let Some(mail) = self.lock().mails.get_mut(&id.0) {
            mail.due_at = next_at;
        }
        Ok(())
    }
}
