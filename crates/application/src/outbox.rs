//! Sending the mails that are owed.
//!
//! The code or link is made at the moment of sending: it is fresh after an outage, and lies in no table.

use std::{sync::Arc, time::Duration};

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Error, Result,
    clock::Clock,
    mailer::{Mail, MailError, Mailer},
    outbox::{MailIntent, OutboxMail, OutboxRepository},
    users::Email,
};
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{keyed_hash::KeyedHash, random};

/// How long a code can be used.
pub const CODE_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How long a reset link can be used.
const RESET_LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// How long nobody else sends what a worker has taken. Longer than a batch takes with a server that hangs, and short
/// enough that what a killed worker had taken goes out within a minute.
const LEASE: TimeDelta = TimeDelta::seconds(45);
const BATCH: i64 = 16;
const AT_ONCE: usize = 8;
/// How long a mail is tried while the server cannot be reached or asks to try again.
const GIVE_UP_TRANSIENT: TimeDelta = TimeDelta::days(1);
/// How long a mail is tried that the server refuses. A refusal may be the server's own trouble; but who waits this
/// long asks again, and mailing into the void costs reputation.
const GIVE_UP_PERMANENT: TimeDelta = TimeDelta::minutes(15);
/// The longest wait between two tries: what is owed leaves within a minute of the server's return.
const LONGEST_WAIT: TimeDelta = TimeDelta::seconds(40);
/// How often the table is looked at without being woken: for retries, and for what other processes were asked.
const POLL: Duration = Duration::from_secs(2);

/// Sends the mails that are owed.
#[derive(Clone)]
pub struct OutboxService {
    outbox: Arc<dyn OutboxRepository>,
    mailer: Arc<dyn Mailer>,
    clock: Arc<dyn Clock>,
    secrets: KeyedHash,
    frontend_url: Arc<str>,
    wake: Arc<Notify>,
}

impl OutboxService {
    /// Outbox from `outbox`, sent by `mailer`. Links lead to `frontend_url`, which has no slash at its end.
    pub fn new(
        outbox: Arc<dyn OutboxRepository>,
        mailer: Arc<dyn Mailer>,
        clock: Arc<dyn Clock>,
        secrets: KeyedHash,
        frontend_url: &str,
    ) -> Self {
        Self { outbox, mailer, clock, secrets, frontend_url: frontend_url.into(), wake: Arc::default() }
    }

    /// Returns the same outbox on another handle of the database.
    #[must_use]
    pub fn with_repository(&self, outbox: Arc<dyn OutboxRepository>) -> Self {
        Self { outbox, ..self.clone() }
    }

    /// Says that something new is owed.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Sets when a mail leaves that was asked for to `email` at `asked_at`, or that it does not.
    pub(crate) async fn reschedule(
        &self,
        email: Email,
        asked_at: DateTime<Utc>,
        leaves_at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        self.outbox.reschedule(email, asked_at, leaves_at).await
    }

    /// Sends what is owed until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.send_due().await {
                Ok(0) => {}
                Ok(_) => continue, // there may be more
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "mails cannot be looked up");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Takes a batch of what is due and sends it; how many it took.
    pub async fn send_due(&self) -> Result<usize> {
        let now = self.clock.now();
        let owed = self.outbox.claim(now, now + LEASE, BATCH).await?;
        let taken = owed.len();
        stream::iter(owed)
            .for_each_concurrent(AT_ONCE, async |owed| {
                let id = owed.id.0;
                if let Err(error) = self.send(owed).await {
                    // Its lease ends, and it is tried again.
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, mail.id = id, "a mail could not be prepared or settled");
                }
            })
            .await;
        Ok(taken)
    }

    async fn send(&self, owed: OutboxMail) -> Result<()> {
        let now = self.clock.now();
        let Some(mail) = self.compose(&owed, now).await? else {
            return self.outbox.ack(owed.id).await; // nobody needs it any more
        };
        let Err(error) = self.mailer.send(mail).await else {
            return self.outbox.ack(owed.id).await;
        };
        let next_at = next_try(&owed, &error, now);
        tracing::warn!(%error, mail.id = owed.id.0, attempts = owed.attempts, dead = next_at.is_none(), "a mail was not sent");
        self.outbox.retry_later(owed.id, next_at, error.to_string()).await
    }

    async fn compose(&self, owed: &OutboxMail, now: DateTime<Utc>) -> Result<Option<Mail>> {
        match &owed.intent {
            MailIntent::VerifyEmail(registration) => {
                let code = random::code()?;
                let hash = self.secrets.hash_code(*registration, &code);
                let addressee = self.outbox.issue_code(*registration, hash, now + CODE_LIFETIME).await?;
                addressee.map(|addressee| verification(addressee.email, code)).transpose()
            }
            MailIntent::ResetPassword(email) => {
                let token = random::token::<32>()?;
                let hash = self.secrets.hash_reset_token(&token);
                let addressee =
                    self.outbox.issue_reset(owed.id, email.clone(), hash, now + RESET_LIFETIME).await?;
                let link = format!("{}/reset-password?token={token}", self.frontend_url);
                addressee.map(|addressee| reset(addressee.email, &addressee.username, link)).transpose()
            }
            MailIntent::AlreadyRegistered(email) => {
                already_registered(email.clone(), format!("{}/", self.frontend_url)).map(Some)
            }
        }
    }
}

fn next_try(owed: &OutboxMail, error: &MailError, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let give_up_after = match error {
        MailError::Transient(_) => GIVE_UP_TRANSIENT,
        MailError::Permanent(_) => GIVE_UP_PERMANENT,
    };
    let doublings = owed.attempts.clamp(1, 10) - 1;
    let wait = TimeDelta::seconds(1 << doublings).min(LONGEST_WAIT);
    (now - owed.queued_at < give_up_after).then_some(now + wait)
}

/// A part of a mail. In the text part each stands on a line of its own.
enum Paragraph {
    Text(String),
    Code(String),
    Link(String),
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    paragraphs: &'a [Paragraph],
}

fn mail(to: Email, subject: &str, paragraphs: &[Paragraph]) -> Result<Mail> {
    let html = Html { paragraphs }.render().map_err(Error::internal)?;
    let lines = paragraphs.iter().map(|part| match part {
        Paragraph::Text(text) | Paragraph::Code(text) | Paragraph::Link(text) => text.as_str(),
    });
    let text = lines.collect::<Vec<_>>().join("\n\n") + "\n";
    Ok(Mail { to, subject: subject.to_owned(), text, html })
}

// The wanted name is not in it: anybody can register any address, and could make us mail their words.
fn verification(to: Email, code: String) -> Result<Mail> {
    let text = |text: &str| Paragraph::Text(text.to_owned());
    mail(
        to,
        "Your OTP Verification Code",
        &[
            text("Welcome! This code verifies your e-mail address:"),
            Paragraph::Code(code),
            text("It is valid for 10 minutes and works once. If you did not register, ignore this mail."),
        ],
    )
}

fn reset(to: Email, username: &str, link: String) -> Result<Mail> {
    mail(
        to,
        "Reset Your Password",
        &[
            Paragraph::Text(format!("Follow this link to choose a new password for {username}:")),
            Paragraph::Link(link),
            Paragraph::Text(
                "It is valid for 15 minutes and works once. If you did not ask for it, ignore this mail: nothing changes."
                    .to_owned(),
            ),
        ],
    )
}

fn already_registered(to: Email, link: String) -> Result<Mail> {
    mail(
        to,
        "You Already Have an Account",
        &[
            Paragraph::Text(
                "Somebody tried to register with your e-mail address, which has an account already. If it was you, log in \
                 there, or ask for a new password:"
                    .to_owned(),
            ),
            Paragraph::Link(link),
            Paragraph::Text("If it was not you, ignore this mail: nothing has changed.".to_owned()),
        ],
    )
}

#[cfg(test)]
mod tests;
