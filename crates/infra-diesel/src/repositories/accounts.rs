//! Registrations, users and their passwords.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, NullableExpressionMethods as _, QueryDsl as _, Queryable, Selectable, pg::Pg,
    sqlite::Sqlite,
};
use domain::{
    Error, Result,
    accounts::{
        AccountRepository, Activation, CodeHash, Credentials, NewRegistration, RegistrationId,
        RegistrationOutcome, ResetTokenHash, SentCode,
    },
    passwords::PasswordHash,
    sessions::{NewSession, SessionId},
    users::{Email, Profile, UserId, UserSummary},
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
        Timestamp, lower, mail_outbox, password_resets, registrations, user_counters, username_holds, users,
    },
    sql::{row::row, statement::statements},
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

#[derive(Queryable)]
struct ProfileRow {
    username: String,
    email: String,
    created_at: DateTime<Utc>,
    posts: i64,
    followers: i64,
    following: i64,
}

row! {
    struct NeighborRow {
        is_follower: bool,
        user_id: i64,
    }
}

statements! {
    // The newest followers and followed users in one round trip.
    Both: PROFILE_NEIGHBORS(i64, i64) =
        "SELECT n.is_follower, n.user_id FROM (
           SELECT * FROM (SELECT true AS is_follower, follower_id AS user_id, id
             FROM follows WHERE followee_id = ? ORDER BY id DESC LIMIT 100) AS followers
           UNION ALL
           SELECT * FROM (SELECT false AS is_follower, followee_id AS user_id, id
             FROM follows WHERE follower_id = ? ORDER BY id DESC LIMIT 100) AS following
         ) AS n ORDER BY n.id DESC";
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
        ))
        .returning(registrations::id);
    let registration = tx.first::<i64, _>(insert).await?;
    let mail = (mail_outbox::intent.eq("verify"), mail_outbox::registration_id.eq(registration), queued);
    tx.execute(diesel::insert_into(mail_outbox::table).values(mail)).await?;
    Ok(RegistrationOutcome::Pending)
}

async fn activate(
    tx: &mut Connection<'_>,
    code: SentCode,
    session: NewSession,
) -> Result<Activation, DbError> {
    let delete = diesel::delete(registrations::table)
        .filter(registrations::id.eq(code.registration.0))
        .filter(registrations::code_hash.eq(code.hash.0))
        .filter(registrations::code_expires_at.gt(Timestamp(session.at)))
        .returning(columns::<RegistrationRow>());
    let Some(row) = tx.first::<RegistrationRow, _>(delete).await? else { return Ok(Activation::CodeInvalid) };
    let insert = diesel::insert_into(users::table)
        .values((
            users::username.eq(&row.username),
            users::email.eq(&row.email),
            users::password_hash.eq(&row.password_hash),
            users::created_at.eq(Timestamp(session.at)),
        ))
        .returning(users::id);
    let user = tx.first::<i64, _>(insert).await?.ok_or(diesel::result::Error::NotFound)?;
    tx.execute(diesel::insert_into(user_counters::table).values(user_counters::user_id.eq(user))).await?;
    tx.execute(diesel::delete(registrations::table.filter(registrations::email.eq(&row.email)))).await?;
    tx.execute(diesel::delete(username_holds::table.filter(username_holds::email.eq(&row.email)))).await?;
    insert_session(tx, UserId(user), &session).await?;
    Ok(Activation::LoggedIn(UserId(user)))
}

#[async_trait]
impl AccountRepository for Repositories {
    async fn register(&self, new: NewRegistration) -> Result<RegistrationOutcome> {
        Ok(self.db.transaction(async move |tx: &mut Connection<'_>| register(tx, new).await).await?)
    }

    async fn count_attempt(&self, email: Email, max_attempts: i32) -> Result<Vec<SentCode>> {
        let count = diesel::update(registrations::table)
            .filter(registrations::email.eq(email.as_str().to_owned()))
            .filter(registrations::code_hash.is_not_null())
            .filter(registrations::tries.lt(max_attempts))
            .set(registrations::tries.eq(registrations::tries + 1))
            .returning((
                registrations::id,
                registrations::code_hash.assume_not_null(),
                registrations::code_expires_at.assume_not_null(),
            ));
        let rows: Vec<(i64, Vec<u8>, DateTime<Utc>)> =
            self.db.write(async move |conn: &mut Connection<'_>| conn.load(count).await).await?;
        let code = |(id, hash, expires_at)| SentCode {
            registration: RegistrationId(id),
            hash: CodeHash(hash),
            expires_at,
        };
        Ok(rows.into_iter().map(code).collect())
    }

    async fn activate(&self, code: SentCode, session: NewSession) -> Result<Activation> {
        let work = async move |tx: &mut Connection<'_>| activate(tx, code, session).await;
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
        Ok(self.db.transaction(work).await?)
    }

    async fn request_reset(&self, email: Email, at: DateTime<Utc>, mail_at: DateTime<Utc>) -> Result<()> {
        let insert = diesel::insert_into(mail_outbox::table).values((
            mail_outbox::intent.eq("reset"),
            mail_outbox::email.eq(email.as_str().to_owned()),
            mail_outbox::created_at.eq(Timestamp(at)),
            mail_outbox::next_attempt_at.eq(Timestamp(mail_at)),
        ));
        self.db.execute(insert).await?;
        Ok(())
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
        Ok(self.db.transaction(work).await?)
    }

    async fn find_profile(&self, user: UserId) -> Result<Option<Profile>> {
        let query = users::table.inner_join(user_counters::table).filter(users::id.eq(user.0)).select((
            users::username,
            users::email,
            users::created_at,
            user_counters::posts,
            user_counters::followers,
            user_counters::following,
        ));
        let Some(row) = self.db.first::<ProfileRow, _>(query).await? else { return Ok(None) };
        let neighbors = self.db.load_rows::<NeighborRow>(PROFILE_NEIGHBORS.with((user.0, user.0))).await?;
        let (followers, following): (Vec<_>, Vec<_>) = neighbors.into_iter().partition(|row| row.is_follower);
        let summary = |row: NeighborRow, username| UserSummary { id: UserId(row.user_id), username };
        let followers = self.with_usernames(followers, |row| row.user_id, summary).await?;
        let following = self.with_usernames(following, |row| row.user_id, summary).await?;
        Ok(Some(Profile {
            id: user,
            username: row.username,
            email: Email::from_stored(row.email),
            posts_count: row.posts,
            followers_count: row.followers,
            following_count: row.following,
            followers,
            following,
            created_at: row.created_at,
        }))
    }
}
