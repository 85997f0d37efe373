//! Mails that are owed.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Error, Result,
    accounts::{CodeHash, RegistrationId, ResetTokenHash},
    outbox::{Addressee, MailId, MailIntent, OutboxMail, OutboxRepository},
    users::Email,
};

use super::{Repositories, accounts::hold_username};
use crate::{
    connection::Connection,
    error::DbError,
    sql::{
        row::row,
        statement::{Literal, Statement, sql},
    },
};

row! {
    struct OutboxMailRow {
        id: i64,
        intent: String,
        registration_id: Option<i64>,
        email: Option<String>,
        attempts: i32,
        created_at: DateTime<Utc>,
    }
}

impl TryFrom<OutboxMailRow> for OutboxMail {
    type Error = Error;

    fn try_from(row: OutboxMailRow) -> Result<Self> {
        let intent = match (row.intent.as_str(), row.registration_id, row.email.map(Email::from_stored)) {
            ("verify", Some(registration), _) => MailIntent::VerifyEmail(RegistrationId(registration)),
            ("reset", _, Some(email)) => MailIntent::ResetPassword(email),
            ("already_registered", _, Some(email)) => MailIntent::AlreadyRegistered(email),
            _ => return Err(Error::internal(format!("mail {} has no known intent", row.id))),
        };
        Ok(Self { id: MailId(row.id), intent, attempts: row.attempts, queued_at: row.created_at })
    }
}

row! {
    struct AddresseeRow {
        email: String,
        username: String,
    }
}

impl From<AddresseeRow> for Addressee {
    fn from(row: AddresseeRow) -> Self {
        Self { email: Email::from_stored(row.email), username: row.username }
    }
}

#[async_trait]
impl OutboxRepository for Repositories {
    async fn claim(
        &self,
        at: DateTime<Utc>,
        leased_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<OutboxMail>> {
        // Two workers may pick the same rows; the second finds them leased when it gets their locks.
        let claimed = sql!(
            "UPDATE mail_outbox SET attempts = attempts + 1, next_attempt_at = ?
             WHERE next_attempt_at <= ? AND id IN (
               SELECT id FROM mail_outbox WHERE next_attempt_at <= ? ORDER BY next_attempt_at, id LIMIT ?)
             RETURNING id, intent, registration_id, email, attempts, created_at",
            leased_until,
            at,
            at,
            Literal(limit)
        );
        let mut rows = self
            .db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| {
                claimed.load::<OutboxMailRow>(conn).await
            })
            .await?;
        rows.sort_by_key(|row| row.id);
        rows.into_iter().map(OutboxMail::try_from).collect()
    }

    async fn reschedule(
        &self,
        email: Email,
        asked_at: DateTime<Utc>,
        leaves_at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        macro_rules! asked_for {
            () => {
                " WHERE created_at = ? AND attempts = 0 AND (email = ?
                   OR registration_id IN (SELECT id FROM registrations WHERE email = ?))"
            };
        }
        let address = email.as_str();
        let change = if let Some(at) = leaves_at {
            sql!(
                concat!("UPDATE mail_outbox SET next_attempt_at = ?", asked_for!()),
                at,
                asked_at,
                address,
                address
            )
        } else {
            sql!(concat!("DELETE FROM mail_outbox", asked_for!()), asked_at, address, address)
        };
        self.db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| change.execute(conn).await)
            .await?;
        Ok(())
    }

    async fn issue_code(
        &self,
        registration: RegistrationId,
        code: CodeHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Addressee>> {
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                let row = sql!(
                    "UPDATE registrations SET code_hash = ?, code_expires_at = ?, tries = 0 WHERE id = ?
                 RETURNING email, username",
                    code.0,
                    expires_at,
                    registration.0
                )
                .first::<AddresseeRow>(tx)
                .await?;
                if let Some(row) = &row {
                    // A hold of somebody else's stays: then the activation tells that the name is taken.
                    hold_username(tx, &row.username, &row.email, Utc::now(), expires_at).await?;
                }
                Ok(row.map(Addressee::from))
            })
            .await;
        Ok(done?)
    }

    async fn issue_reset(
        &self,
        id: MailId,
        email: Email,
        token: ResetTokenHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Addressee>> {
        let done: Result<_, DbError> = self.db.transaction(async move |tx: &mut Connection<'_>| {
            let issued = sql!(
                "INSERT INTO password_resets (user_id, mail_id, token_hash, expires_at)
                 SELECT id, ?, ?, ? FROM users WHERE email = ? AND is_active AND is_verified
                 ON CONFLICT (user_id) DO UPDATE
                 SET mail_id = excluded.mail_id, token_hash = excluded.token_hash, expires_at = excluded.expires_at
                 WHERE password_resets.mail_id <= excluded.mail_id",
                id.0, token.0, expires_at, email.as_str()
            );
            if issued.execute(tx).await? == 0 {
                return Ok(None);
            }
            let row = sql!("SELECT email, username FROM users WHERE email = ?", email.as_str());
            Ok(row.first::<AddresseeRow>(tx).await?.map(Addressee::from))
        }).await;
        Ok(done?)
    }

    async fn ack(&self, id: MailId) -> Result<()> {
        let settled = sql!("DELETE FROM mail_outbox WHERE id = ?", id.0);
        self.db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| settled.execute(conn).await)
            .await?;
        Ok(())
    }

    async fn retry_later(&self, id: MailId, next_at: Option<DateTime<Utc>>, error: String) -> Result<()> {
        let postponed = sql!(
            "UPDATE mail_outbox SET next_attempt_at = ?, last_error = ? WHERE id = ?",
            next_at,
            error,
            id.0
        );
        self.db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| postponed.execute(conn).await)
            .await?;
        Ok(())
    }
}
