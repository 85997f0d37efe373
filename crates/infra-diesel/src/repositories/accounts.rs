//! Registrations, users and their passwords.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _, Queryable, Selectable, pg::Pg, sqlite::Sqlite};
use domain::{
    Error, Result,
    accounts::{
        AccountRepository, Activation, AttemptLimits, CodeAttempt, CodeHash, Credentials, NewRegistration,
        RegistrationHandle, RegistrationId, RegistrationOutcome, ResetTokenHash, SentCode,
    },
    passwords::PasswordHash,
    sessions::{NewSession, SessionId},
    users::{Email, Profile, UserId},
};

use super::{
    sessions::{end_sessions, insert_session},
    username_holds::reserve_username,
};
use crate::{
    connection::{Connection, columns},
    db::Repositories,
    error::DbError,
    schema::{
        Timestamp, code_attempts, lower, mail_outbox, password_resets, registrations, user_counters,
        username_holds, users,
    },
    sql::row_lock::Locked,
    sqlite::writer::Importance,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(Pg, Sqlite))]
struct CredentialsRow {
    id: i64,
    password_hash: String,
    is_active: bool,
    is_verified: bool,
}

impl From<CredentialsRow> for Credentials {
    fn from(row: CredentialsRow) -> Self {
        Self {
            user: UserId(row.id),
            password: PasswordHash(row.password_hash),
            is_active: row.is_active,
            is_verified: row.is_verified,
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = registrations, check_for_backend(Pg, Sqlite))]
struct RegistrationRow {
    username: String,
    email: String,
    password_hash: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = registrations, check_for_backend(Pg, Sqlite))]
struct CodeRow {
    id: i64,
    handle: Option<String>,
    code_hash: Option<Vec<u8>>,
    code_expires_at: Option<DateTime<Utc>>,
    tries: i32,
}

impl CodeRow {
    fn is_of(&self, registration: Option<&RegistrationHandle>) -> bool {
        registration.is_none_or(|handle| self.handle.as_deref() == Some(handle.as_str()))
    }

    fn into_sent_code(self) -> Option<SentCode> {
        let (hash, expires_at) = (CodeHash(self.code_hash?), self.code_expires_at?);
        Some(SentCode { registration: RegistrationId(self.id), hash, expires_at })
    }
}

/// Returns whether a normalized login is an email address, otherwise it is a username.
fn is_email(login: &str) -> bool {
    login.contains('@')
}

/// Sets a new hash if the old one is still current, and returns whether it was.
async fn replace_hash(
    conn: &mut Connection<'_>,
    user: UserId,
    old: &PasswordHash,
    new: &PasswordHash,
) -> Result<bool, DbError> {
    let replace = diesel::update(users::table)
        .filter(users::id.eq(user.0))
        .filter(users::password_hash.eq(&old.0))
        .set(users::password_hash.eq(&new.0));
    Ok(conn.execute(replace).await? > 0)
}

/// Queues a mail with a reset link.
async fn queue_reset(
    conn: &mut Connection<'_>,
    email: &str,
    at: DateTime<Utc>,
    due_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let insert = diesel::insert_into(mail_outbox::table).values((
        mail_outbox::intent.eq("reset"),
        mail_outbox::email.eq(email),
        mail_outbox::created_at.eq(Timestamp(at)),
        mail_outbox::next_attempt_at.eq(Timestamp(due_at)),
    ));
    conn.execute(insert).await?;
    Ok(())
}

async fn register(tx: &mut Connection<'_>, new: NewRegistration) -> Result<RegistrationOutcome, DbError> {
    let email = new.email.as_str();
    let owner = users::table.filter(users::email.eq(email)).select(users::id);
    let is_taken = tx.first::<i64, _>(owner).await?.is_some();
    if is_taken && !new.notify_owner {
        return Ok(RegistrationOutcome::EmailTaken);
    }
    if !reserve_username(tx, new.username.as_str(), email, new.at, new.name_reserved_until).await? {
        return Ok(RegistrationOutcome::UsernameTaken);
    }
    let queued = (
        mail_outbox::created_at.eq(Timestamp(new.at)),
        mail_outbox::next_attempt_at.eq(Timestamp(new.mail_at)),
    );
    if is_taken {
        let mail = (mail_outbox::intent.eq("already_registered"), mail_outbox::email.eq(email), queued);
        tx.execute(diesel::insert_into(mail_outbox::table).values(mail)).await?;
        return Ok(RegistrationOutcome::EmailTaken);
    }
    let insert = diesel::insert_into(registrations::table)
        .values((
            registrations::username.eq(new.username.as_str()),
            registrations::email.eq(email),
            registrations::password_hash.eq(&new.password.0),
            registrations::created_at.eq(Timestamp(new.at)),
            registrations::handle.eq(new.handle.as_str()),
        ))
        .returning(registrations::id);
    let registration = tx.first::<i64, _>(insert).await?;
    let mail = (mail_outbox::intent.eq("verify"), mail_outbox::registration_id.eq(registration), queued);
    tx.execute(diesel::insert_into(mail_outbox::table).values(mail)).await?;
    Ok(RegistrationOutcome::Pending)
}

async fn count_attempt(
    tx: &mut Connection<'_>,
    CodeAttempt { email, registration, client }: CodeAttempt,
    limits: AttemptLimits,
) -> Result<Vec<SentCode>, DbError> {
    // Locked, so that concurrent attempts see each other's counts.
    let codes = Locked(
        registrations::table
            .filter(registrations::email.eq(email.as_str()))
            .order(registrations::id)
            .select(columns::<CodeRow>()),
    );
    let codes: Vec<CodeRow> = tx.load(codes).await?;
    let attempts = code_attempts::table
        .inner_join(registrations::table)
        .filter(registrations::email.eq(email.as_str()))
        .filter(code_attempts::client.eq(&client.0))
        .filter(code_attempts::tries.ge(limits.per_client))
        .select(code_attempts::registration_id);
    let exhausted: Vec<i64> = tx.load(attempts).await?;
    let mut sent = Vec::new();
    for code in codes {
        let id = code.id;
        let has_attempts = code.tries < limits.total && !exhausted.contains(&id);
        if !has_attempts || !code.is_of(registration.as_ref()) {
            continue;
        }
        let Some(code) = code.into_sent_code() else { continue };
        let count = diesel::insert_into(code_attempts::table)
            .values((
                code_attempts::registration_id.eq(id),
                code_attempts::client.eq(client.0.clone()),
                code_attempts::tries.eq(1),
            ))
            .on_conflict((code_attempts::registration_id, code_attempts::client))
            .do_update()
            .set(code_attempts::tries.eq(code_attempts::tries + 1));
        tx.execute(count).await?;
        let count = diesel::update(registrations::table.find(id));
        tx.execute(count.set(registrations::tries.eq(registrations::tries + 1))).await?;
        sent.push(code);
    }
    Ok(sent)
}

async fn activate(
    tx: &mut Connection<'_>,
    code: SentCode,
    session: NewSession,
    if_contested: Option<PasswordHash>,
) -> Result<Activation, DbError> {
    let email = registrations::table.find(code.registration.0).select(registrations::email);
    let Some(email) = tx.first::<String, _>(email).await? else { return Ok(Activation::CodeInvalid) };
    // All are locked in the order of `count_attempt`, so that neither waits for the other forever.
    let pending = Locked(
        registrations::table
            .filter(registrations::email.eq(email))
            .order(registrations::id)
            .select(registrations::password_hash),
    );
    let passwords: Vec<String> = tx.load(pending).await?;
    let delete = diesel::delete(registrations::table)
        .filter(registrations::id.eq(code.registration.0))
        .filter(registrations::code_hash.eq(code.hash.0))
        .filter(registrations::code_expires_at.gt(Timestamp(session.at)))
        .returning(columns::<RegistrationRow>());
    let Some(row) = tx.first::<RegistrationRow, _>(delete).await? else { return Ok(Activation::CodeInvalid) };
    let is_contested = passwords.iter().any(|other| *other != row.password_hash);
    let replacement = if_contested.filter(|_| is_contested);
    let password = replacement.as_ref().map_or(&row.password_hash, |replacement| &replacement.0);
    let insert = diesel::insert_into(users::table)
        .values((
            users::username.eq(&row.username),
            users::email.eq(&row.email),
            users::password_hash.eq(password),
            users::created_at.eq(Timestamp(session.at)),
        ))
        .returning(users::id);
    let user = tx.first::<i64, _>(insert).await?.ok_or(diesel::result::Error::NotFound)?;
    tx.execute(diesel::insert_into(user_counters::table).values(user_counters::user_id.eq(user))).await?;
    tx.execute(diesel::delete(registrations::table.filter(registrations::email.eq(&row.email)))).await?;
    tx.execute(diesel::delete(username_holds::table.filter(username_holds::email.eq(&row.email)))).await?;
    insert_session(tx, UserId(user), &session).await?;
    if replacement.is_none() {
        return Ok(Activation::LoggedIn(UserId(user)));
    }
    queue_reset(tx, &row.email, session.at, session.at).await?;
    Ok(Activation::LoggedInWithoutPassword(UserId(user)))
}

#[async_trait]
impl AccountRepository for Repositories {
    async fn register(&self, new: NewRegistration) -> Result<RegistrationOutcome> {
        Ok(self.db.transaction(async move |tx: &mut Connection<'_>| register(tx, new).await).await?)
    }

    async fn count_attempt(&self, attempt: CodeAttempt, limits: AttemptLimits) -> Result<Vec<SentCode>> {
        let work = async move |tx: &mut Connection<'_>| count_attempt(tx, attempt, limits).await;
        Ok(self.db.transaction(work).await?)
    }

    async fn activate(
        &self,
        code: SentCode,
        session: NewSession,
        if_contested: Option<PasswordHash>,
    ) -> Result<Activation> {
        let work = async move |tx: &mut Connection<'_>| activate(tx, code, session, if_contested).await;
        match self.db.transaction(work).await {
            Ok(activation) => Ok(activation),
            // Another registration of the same name, or of the same address, was quicker.
            Err(DbError(error)) if error == Error::USERNAME_TAKEN => Ok(Activation::UsernameTaken),
            Err(DbError(error)) if error == Error::EMAIL_TAKEN => Ok(Activation::CodeInvalid),
            Err(error) => Err(error.into()),
        }
    }

    async fn find_credentials(&self, login: String) -> Result<Option<Credentials>> {
        let login = login.trim().to_lowercase();
        let query = users::table.select(columns::<CredentialsRow>());
        let row: Option<CredentialsRow> = if is_email(&login) {
            self.db.first(query.filter(users::email.eq(login))).await?
        } else {
            self.db.first(query.filter(lower(users::username).eq(login))).await?
        };
        Ok(row.map(Credentials::from))
    }

    async fn find_pending_password_hash(
        &self,
        login: String,
        since: DateTime<Utc>,
    ) -> Result<Option<PasswordHash>> {
        let login = login.trim().to_lowercase();
        let query = registrations::table
            .filter(registrations::created_at.ge(Timestamp(since)))
            .order(registrations::id.desc())
            .limit(1)
            .select(registrations::password_hash);
        let hash: Option<String> = if is_email(&login) {
            self.db.first(query.filter(registrations::email.eq(login))).await?
        } else {
            self.db.first(query.filter(lower(registrations::username).eq(login))).await?
        };
        Ok(hash.map(PasswordHash))
    }

    async fn find_password_hash(&self, user: UserId) -> Result<Option<PasswordHash>> {
        let query = users::table.find(user.0).select(users::password_hash);
        Ok(self.db.first::<String, _>(query).await?.map(PasswordHash))
    }

    async fn replace_password_hash(&self, user: UserId, old: PasswordHash, new: PasswordHash) -> Result<()> {
        let work = async move |conn: &mut Connection<'_>| replace_hash(conn, user, &old, &new).await;
        self.db.write(work).await?;
        Ok(())
    }

    async fn change_password(
        &self,
        user: UserId,
        old: PasswordHash,
        new: PasswordHash,
        keep: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Vec<SessionId>>> {
        let work = async move |tx: &mut Connection<'_>| {
            if !replace_hash(tx, user, &old, &new).await? {
                return Ok(None);
            }
            // A link that was mailed before must not undo the change.
            tx.execute(diesel::delete(password_resets::table.find(user.0))).await?;
            Ok(Some(end_sessions(tx, user, Some(keep), at).await?))
        };
        Ok(self.db.transaction_as(Importance::Essential, work).await?)
    }

    async fn request_reset(&self, email: Email, at: DateTime<Utc>, mail_at: DateTime<Utc>) -> Result<()> {
        let work =
            async move |conn: &mut Connection<'_>| queue_reset(conn, email.as_str(), at, mail_at).await;
        Ok(self.db.write_as(Importance::Essential, work).await?)
    }

    async fn reset_password(
        &self,
        token: ResetTokenHash,
        new: PasswordHash,
        at: DateTime<Utc>,
    ) -> Result<Option<(UserId, Vec<SessionId>)>> {
        let work = async move |tx: &mut Connection<'_>| {
            let delete = diesel::delete(password_resets::table)
                .filter(password_resets::token_hash.eq(token.0))
                .filter(password_resets::expires_at.gt(Timestamp(at)))
                .returning(password_resets::user_id);
            let Some(user) = tx.first::<i64, _>(delete).await? else { return Ok(None) };
            tx.execute(diesel::update(users::table.find(user)).set(users::password_hash.eq(new.0))).await?;
            Ok(Some((UserId(user), end_sessions(tx, UserId(user), None, at).await?)))
        };
        Ok(self.db.transaction_as(Importance::Essential, work).await?)
    }

    async fn find_profile(&self, user: UserId) -> Result<Option<Profile>> {
        self.profile(user).await
    }
}
