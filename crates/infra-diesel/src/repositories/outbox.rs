//! The outbox of mails.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, IntoSql as _, NullableExpressionMethods as _,
    QueryDsl as _, Queryable, Selectable,
    pg::Pg,
    query_dsl::methods,
    sql_types::{BigInt, Binary},
    sqlite::Sqlite,
    upsert::excluded,
};
use domain::{
    Error, Result,
    accounts::{CodeHash, RegistrationId, ResetTokenHash},
    clock::{Clock as _, SystemClock},
    outbox::{MailId, MailIntent, OutboxMail, OutboxRepository, Recipient},
    users::Email,
};

use super::username_holds::reserve_username;
use crate::{
    connection::{Connection, columns},
    db::Repositories,
    schema::{Timestamp, UtcTimestamp, code_attempts, mail_outbox, password_resets, registrations, users},
    sqlite::writer::Importance,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = mail_outbox, check_for_backend(Pg, Sqlite))]
struct OutboxMailRow {
    id: i64,
    intent: String,
    registration_id: Option<i64>,
    email: Option<String>,
    attempts: i32,
    created_at: DateTime<Utc>,
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

fn addressee((email, username): (String, String)) -> Recipient {
    Recipient { email: Email::from_stored(email), username }
}

#[async_trait]
impl OutboxRepository for Repositories {
    async fn claim(
        &self,
        at: DateTime<Utc>,
        leased_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<OutboxMail>> {
        let due = diesel::alias!(mail_outbox as due);
        let next_attempt_at = due.field(mail_outbox::next_attempt_at);
        let ids = due
            .filter(next_attempt_at.le(Timestamp(at)))
            .order((next_attempt_at, due.field(mail_outbox::id)))
            .limit(limit)
            .select(due.field(mail_outbox::id));
        // Two workers may select the same rows; the second finds them leased when it gets their locks.
        let claim = diesel::update(mail_outbox::table)
            .filter(mail_outbox::next_attempt_at.le(Timestamp(at)))
            .filter(mail_outbox::id.eq_any(ids))
            .set((
                mail_outbox::attempts.eq(mail_outbox::attempts + 1),
                mail_outbox::next_attempt_at.eq(Timestamp(leased_until)),
            ))
            .returning(columns::<OutboxMailRow>());
        let work = async move |conn: &mut Connection<'_>| conn.load::<OutboxMailRow, _>(claim).await;
        let mut rows = self.db.write_as(Importance::Essential, work).await?;
        rows.sort_by_key(|row| row.id);
        rows.into_iter().map(OutboxMail::try_from).collect()
    }

    async fn reschedule(
        &self,
        email: Email,
        requested_at: DateTime<Utc>,
        due_at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let address = email.as_str().to_owned();
        let registrations = registrations::table
            .filter(registrations::email.eq(address.clone()))
            .select(registrations::id.nullable());
        let requested = mail_outbox::created_at
            .eq(Timestamp(requested_at))
            .and(mail_outbox::attempts.eq(0))
            .and(mail_outbox::email.eq(address).or(mail_outbox::registration_id.eq_any(registrations)));
        if let Some(at) = due_at {
            let update = diesel::update(mail_outbox::table).filter(requested);
            self.db
                .execute_as(Importance::Essential, update.set(mail_outbox::next_attempt_at.eq(Timestamp(at))))
                .await?;
        } else {
            self.db
                .execute_as(Importance::Essential, diesel::delete(mail_outbox::table).filter(requested))
                .await?;
        }
        Ok(())
    }

    async fn issue_code(
        &self,
        registration: RegistrationId,
        code: CodeHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Recipient>> {
        let work = async move |tx: &mut Connection<'_>| {
            let issue = diesel::update(registrations::table.find(registration.0))
                .set((
                    registrations::code_hash.eq(code.0),
                    registrations::code_expires_at.eq(Timestamp(expires_at)),
                    registrations::tries.eq(0),
                ))
                .returning((registrations::email, registrations::username));
            let row: Option<(String, String)> = tx.first(issue).await?;
            if let Some((email, username)) = &row {
                let attempts = code_attempts::table.filter(code_attempts::registration_id.eq(registration.0));
                tx.execute(diesel::delete(attempts)).await?;
                // If the name is reserved for another address, the activation will report that it is taken.
                reserve_username(tx, username, email, SystemClock.now(), expires_at).await?;
            }
            Ok(row.map(addressee))
        };
        Ok(self.db.transaction(work).await?)
    }

    async fn issue_reset(
        &self,
        id: MailId,
        email: Email,
        token: ResetTokenHash,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Recipient>> {
        let work = async move |tx: &mut Connection<'_>| {
            let owner = users::table
                .filter(users::email.eq(email.as_str()))
                .filter(users::is_active)
                .filter(users::is_verified)
                .select((
                    users::id,
                    id.0.into_sql::<BigInt>(),
                    token.0.into_sql::<Binary>(),
                    Timestamp(expires_at).into_sql::<UtcTimestamp>(),
                ));
            let issue = diesel::insert_into(password_resets::table)
                .values(owner)
                .into_columns((
                    password_resets::user_id,
                    password_resets::mail_id,
                    password_resets::token_hash,
                    password_resets::expires_at,
                ))
                .on_conflict(password_resets::user_id)
                .do_update()
                .set((
                    password_resets::mail_id.eq(excluded(password_resets::mail_id)),
                    password_resets::token_hash.eq(excluded(password_resets::token_hash)),
                    password_resets::expires_at.eq(excluded(password_resets::expires_at)),
                ));
            let issue = methods::FilterDsl::filter(
                issue,
                password_resets::mail_id.le(excluded(password_resets::mail_id)),
            );
            if tx.execute(issue).await? == 0 {
                return Ok(None);
            }
            let owner =
                users::table.filter(users::email.eq(email.as_str())).select((users::email, users::username));
            Ok(tx.first(owner).await?.map(addressee))
        };
        Ok(self.db.transaction_as(Importance::Essential, work).await?)
    }

    async fn ack(&self, id: MailId) -> Result<()> {
        self.db.execute_as(Importance::Essential, diesel::delete(mail_outbox::table.find(id.0))).await?;
        Ok(())
    }

    async fn retry_later(&self, id: MailId, next_at: Option<DateTime<Utc>>, error: String) -> Result<()> {
        let retry = diesel::update(mail_outbox::table.find(id.0)).set((
            mail_outbox::next_attempt_at.eq(next_at.map(Timestamp)),
            mail_outbox::last_error.eq(error),
        ));
        self.db.execute_as(Importance::Essential, retry).await?;
        Ok(())
    }
}
