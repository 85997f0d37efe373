//! The outbox: mails that are stored with the change that causes them and sent later.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result,
    accounts::{CodeHash, RegistrationId, ResetTokenHash},
    users::Email,
};

/// Identifies an owed mail; a larger one was asked for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailId(pub i64);

/// What a mail is to bring about. No code and no link: both are made when it is sent, so they are fresh after an
/// outage and lie in no table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailIntent {
    /// The code of a pending registration.
    VerifyEmail(RegistrationId),
    /// A reset link, if anybody has the address.
    ResetPassword(Email),
    /// Somebody tried to register an address that has an account.
    AlreadyRegistered(Email),
}

/// A mail that has been promised and not yet sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMail {
    /// Which one.
    pub id: MailId,
    /// What it is for.
    pub intent: MailIntent,
    /// How often sending was begun, this time included.
    pub attempts: i32,
    /// Since when it is owed.
    pub queued_at: DateTime<Utc>,
}

/// Whom a mail addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    /// Their address.
    pub email: Email,
    /// Their name.
    pub username: String,
}

/// Stores the mails that are owed.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait OutboxRepository: Send + Sync {
    /// Takes up to `limit` mails that are due at `at`, oldest first. Nobody else gets them before `leased_until`:
    /// a worker that dies loses none.
    async fn claim(
        &self,
        at: DateTime<Utc>,
        leased_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<OutboxMail>>;

    /// Sets when a mail leaves that was asked for to `email` at `asked_at` and has not been tried; `None` strikes
    /// it out.
    async fn reschedule(
        &self,
        email: Email,
        asked_at: DateTime<Utc>,
        leaves_at: Option<DateTime<Utc>>,
    ) -> Result<()>;

    /// Gives a waiting registration its code, in place of an earlier one, with all tries, and renews the hold on
    /// its name if that is free. `None` if it waits no longer.
    async fn issue_code(
        &self,
        registration: RegistrationId,
        code: CodeHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Addressee>>;

    /// Gives the user of an address the token that was asked for by mail `id`, in place of earlier ones. `None`
    /// if nobody has the address or a later mail was asked for.
    async fn issue_reset(
        &self,
        id: MailId,
        email: Email,
        token: ResetTokenHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Addressee>>;

    /// Strikes a mail out: it was taken over, or nobody needs it any more.
    async fn ack(&self, id: MailId) -> Result<()>;

    /// Puts a mail off until `next_at`, or for good (`None`): a dead letter, kept for the operator.
    async fn retry_later(&self, id: MailId, next_at: Option<DateTime<Utc>>, error: String) -> Result<()>;
}
