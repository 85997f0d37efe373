//! Sending mails from the outbox.
//!
//! Codes and links are created when a mail is sent, so they are fresh after an outage and stored in no table.

use std::{sync::Arc, time::Duration};

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Error, Result,
    clock::Clock,
    mailer::{Mail, MailError, Mailer},
    outbox::{MailIntent, OutboxMail, OutboxRepository, Recipient},
};
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{keyed_hash::KeyedHash, random};

/// How long a code is valid.
pub const CODE_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How long a reset link is valid.
const RESET_LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// How long a claimed mail is reserved for a worker. Longer than a batch takes when the mail server hangs, and short
/// enough that the mails of a crashed worker are sent within a minute.
const LEASE: TimeDelta = TimeDelta::seconds(45);
/// Number of mails that are claimed at once.
const MAX_BATCH_SIZE: i64 = 16;
/// Number of mails that are sent at the same time.
const MAX_CONCURRENT_SENDS: usize = 8;
/// How long a mail is retried while the server is unreachable or asks to retry.
const MAX_TRANSIENT_RETRY_TIME: TimeDelta = TimeDelta::days(1);
/// How long a mail is retried that the server rejects. The cause may be temporary; but after this time users have
/// requested another mail, and repeated rejections harm the sender's reputation.
const MAX_PERMANENT_RETRY_TIME: TimeDelta = TimeDelta::minutes(15);
/// Maximum delay between attempts, so that mails are sent within a minute of the server's recovery.
const MAX_RETRY_DELAY: TimeDelta = TimeDelta::seconds(40);
/// Interval at which the outbox is polled, for retries and for mails queued by other processes.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Sends mails from the outbox.
#[derive(Clone)]
pub struct OutboxService {
    /// Stores the mails.
    pub(crate) repository: Arc<dyn OutboxRepository>,
    mailer: Arc<dyn Mailer>,
    clock: Arc<dyn Clock>,
    keyed_hash: KeyedHash,
    frontend_url: Arc<str>,
    /// Notified when a mail was queued.
    pub(crate) wake: Arc<Notify>,
}

impl OutboxService {
    /// Creates a service. Links lead to `frontend_url`, which must have no trailing slash.
    pub fn new(
        repository: Arc<dyn OutboxRepository>,
        mailer: Arc<dyn Mailer>,
        clock: Arc<dyn Clock>,
        keyed_hash: KeyedHash,
        frontend_url: &str,
    ) -> Self {
        Self {
            repository,
            mailer,
            clock,
            keyed_hash,
            frontend_url: frontend_url.into(),
            wake: Arc::default(),
        }
    }

    /// Returns the same outbox on another handle of the database.
    #[must_use]
    pub fn with_repository(&self, repository: Arc<dyn OutboxRepository>) -> Self {
        Self { repository, ..self.clone() }
    }

    /// Sends mails until `stop` is cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.send_due().await {
                Ok(0) => {}
                Ok(_) => continue, // more may be due
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "failed to read the outbox");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// Sends a batch of due mails and returns their number.
    pub async fn send_due(&self) -> Result<usize> {
        let now = self.clock.now();
        let mails = self.repository.claim(now, now + LEASE, MAX_BATCH_SIZE).await?;
        let claimed = mails.len();
        stream::iter(mails)
            .for_each_concurrent(MAX_CONCURRENT_SENDS, async |mail| {
                let id = mail.id.0;
                if let Err(error) = self.send(mail).await {
                    // The mail is retried when its lease ends.
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, mail.id = id, "failed to prepare or acknowledge a mail");
                }
            })
            .await;
        Ok(claimed)
    }

    async fn send(&self, queued: OutboxMail) -> Result<()> {
        let now = self.clock.now();
        let Some(mail) = self.compose(&queued, now).await? else {
            return self.repository.ack(queued.id).await; // no longer needed
        };
        let Err(error) = self.mailer.send(mail).await else {
            return self.repository.ack(queued.id).await;
        };
        let next_at = next_attempt(&queued, &error, now);
        tracing::warn!(%error, mail.id = queued.id.0, attempts = queued.attempts, dead = next_at.is_none(), "failed to send mail");
        self.repository.retry_later(queued.id, next_at, error.to_string()).await
    }

    /// Creates the mail with a new code or link, unless it is no longer needed.
    async fn compose(&self, queued: &OutboxMail, now: DateTime<Utc>) -> Result<Option<Mail>> {
        let (to, subject, before, action, after) = match &queued.intent {
            MailIntent::VerifyEmail(registration) => {
                let code = random::code()?;
                let hash = self.keyed_hash.hash_code(*registration, &code);
                let recipient = self.repository.issue_code(*registration, hash, now + CODE_LIFETIME).await?;
                let Some(Recipient { email, .. }) = recipient else { return Ok(None) };
                (
                    email,
                    "Your OTP Verification Code",
                    // Without the username: anyone can register any address, and could send their own words by it.
                    "Welcome! This code verifies your e-mail address:".to_owned(),
                    Action::Code(code),
                    "It is valid for 10 minutes and works once. If you did not register, ignore this mail.",
                )
            }
            MailIntent::ResetPassword(email) => {
                let token = random::token::<32>()?;
                let hash = self.keyed_hash.hash_reset_token(&token);
                let expires_at = now + RESET_LIFETIME;
                let recipient =
                    self.repository.issue_reset(queued.id, email.clone(), hash, expires_at).await?;
                let Some(Recipient { email, username }) = recipient else { return Ok(None) };
                (
                    email,
                    "Reset Your Password",
                    format!("Follow this link to choose a new password for {username}:"),
                    Action::Link(format!("{}/reset-password?token={token}", self.frontend_url)),
                    "It is valid for 15 minutes and works once. If you did not ask for it, ignore this mail: nothing \
                     changes.",
                )
            }
            MailIntent::AlreadyRegistered(email) => (
                email.clone(),
                "You Already Have an Account",
                "Someone tried to register with your e-mail address, which has an account already. If it was you, log \
                 in there, or ask for a new password:"
                    .to_owned(),
                Action::Link(format!("{}/", self.frontend_url)),
                "If it was not you, ignore this mail: nothing has changed.",
            ),
        };
        let html = Html { before: &before, action: &action, after }.render().map_err(Error::internal)?;
        let (Action::Code(action) | Action::Link(action)) = action;
        let text = format!("{before}\n\n{action}\n\n{after}\n");
        Ok(Some(Mail { to, subject: subject.to_owned(), text, html }))
    }
}

fn next_attempt(queued: &OutboxMail, error: &MailError, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let max_retry_time = match error {
        MailError::Transient(_) => MAX_TRANSIENT_RETRY_TIME,
        MailError::Permanent(_) => MAX_PERMANENT_RETRY_TIME,
    };
    let doublings = queued.attempts.clamp(1, 10) - 1;
    let delay = TimeDelta::seconds(1 << doublings).min(MAX_RETRY_DELAY);
    (now - queued.queued_at < max_retry_time).then_some(now + delay)
}

/// What a mail is for. In the text part, it is a line of its own.
enum Action {
    Code(String),
    Link(String),
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    before: &'a str,
    action: &'a Action,
    after: &'a str,
}

#[cfg(test)]
mod tests;
