//! The outbox: mails that are stored with the change that causes them and sent later.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    Result,
    accounts::{CodeHash, RegistrationId, ResetTokenHash},
    users::Email,
};

/// How long a mail that is no longer retried is kept for the operator, counted from its request.
pub const DEAD_MAIL_RETENTION: TimeDelta = TimeDelta::days(7);

/// Identifies a mail in the outbox. Larger ids were requested later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailId(pub i64);

/// The purpose of a mail. It contains no code and no link: both are created when the mail is sent, so that they are
/// fresh after an outage and stored in no table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailIntent {
    /// Sends the code of a pending registration.
    VerifyEmail(RegistrationId),
    /// Sends a reset link, if an account has the address.
    ResetPassword(Email),
    /// Informs the owner of an account that their address was used to register again.
    AlreadyRegistered(Email),
}

/// A mail that has yet to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMail {
    /// Its id.
    pub id: MailId,
    /// Its purpose.
    pub intent: MailIntent,
    /// Number of attempts to send it, including the current one.
    pub attempts: i32,
    /// When it was queued.
    pub queued_at: DateTime<Utc>,
}

/// The recipient of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub email: Email,
    /// The username.
    pub username: String,
}

/// Stores mails that have yet to be sent.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait OutboxRepository: Send + Sync {
    /// Leases up to `limit` mails that are due at `at`, oldest first. No other call returns them before
    /// `leased_until`, after which a mail that was not acknowledged is due again: a crashed worker loses none.
    async fn claim(
        &self,
        at: DateTime<Utc>,
        leased_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<OutboxMail>>;

    /// Sets when the mail that was requested for `email` at `requested_at` is due; `None` deletes it. Ignored if an
    /// attempt to send it has been made.
    async fn reschedule(
        &self,
        email: Email,
        requested_at: DateTime<Utc>,
        due_at: Option<DateTime<Utc>>,
    ) -> Result<()>;

    /// Sets the code of a pending registration, in place of an earlier one, resets its attempts, and renews the
    /// reservation of its username if that is free. Returns `None` if the registration is no longer pending.
    async fn issue_code(
        &self,
        registration: RegistrationId,
        code: CodeHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Recipient>>;

    /// Sets the reset token that was requested by mail `id`, in place of earlier ones. Returns `None` if no account has
    /// the address or a later mail was requested.
    async fn issue_reset(
        &self,
        id: MailId,
        email: Email,
        token: ResetTokenHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Recipient>>;

    /// Deletes a mail: it was sent, or is no longer needed.
    async fn ack(&self, id: MailId) -> Result<()>;

    /// Makes a mail due again at `next_at`; `None` keeps it for the operator as a dead letter, for
    /// [`DEAD_MAIL_RETENTION`].
    async fn retry_later(&self, id: MailId, next_at: Option<DateTime<Utc>>, error: String) -> Result<()>;
}
