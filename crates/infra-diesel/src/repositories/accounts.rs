//! Registrations, users and their passwords.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Error, Result,
    accounts::{
        AccountRepository, Activation, CodeHash, Credentials, NewRegistration, PasswordHash, RegistrationId,
        RegistrationOutcome, ResetTokenHash, SentCode,
    },
    sessions::{NewSession, SessionId},
    users::{Email, Profile, UserId, UserSummary},
};

use super::{
    NumberRow, Repositories, TextRow,
    sessions::{end_sessions, insert_session},
};
use crate::{
    connection::Connection,
    error::DbError,
    sql::{
        row::row,
        statement::{Statement, sql},
    },
};

row! {
    struct SentCodeRow {
        id: i64,
        code_hash: Vec<u8>,
        code_expires_at: DateTime<Utc>,
    }
}

impl From<SentCodeRow> for SentCode {
    fn from(row: SentCodeRow) -> Self {
        Self {
            registration: RegistrationId(row.id),
            hash: CodeHash(row.code_hash),
            expires_at: row.code_expires_at,
        }
    }
}

row! {
    struct CredentialsRow {
        id: i64,
        password_hash: String,
        is_active: bool,
        is_verified: bool,
    }
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

row! {
    struct RegistrationRow {
        username: String,
        email: String,
        password_hash: String,
    }
}

row! {
    struct ProfileRow {
        username: String,
        email: String,
        created_at: DateTime<Utc>,
        posts: i64,
        followers: i64,
        following: i64,
    }
}

row! {
    struct NeighbourRow {
        is_follower: bool,
        id: i64,
        username: String,
    }
}

/// Rolls a transaction back although nothing failed.
enum Stop {
    With(RegistrationOutcome),
    DbError(DbError),
}

impl From<diesel::result::Error> for Stop {
    fn from(error: diesel::result::Error) -> Self {
        Self::DbError(error.into())
    }
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        Self::DbError(error)
    }
}

/// Holds a name for an address unless somebody has it or holds it for another address; whether it is held.
pub(crate) async fn hold_username(
    tx: &mut Connection<'_>,
    username: &str,
    email: &str,
    at: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<bool, DbError> {
    let key = username.to_ascii_lowercase();
    let held = sql!(
        "INSERT INTO username_holds (username, email, expires_at)
         SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM users WHERE lower(username) = ?)
         ON CONFLICT (username) DO UPDATE SET email = excluded.email, expires_at = excluded.expires_at
         WHERE username_holds.email = excluded.email OR username_holds.expires_at <= ?",
        key.clone(),
        email,
        until,
        key,
        at
    );
    Ok(held.execute(tx).await? == 1)
}

#[async_trait]
impl AccountRepository for Repositories {
    async fn register(&self, new: NewRegistration) -> Result<RegistrationOutcome> {
        let done: Result<RegistrationOutcome, Stop> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                let email = new.email.as_str();
                let taken = sql!("SELECT id AS value FROM users WHERE email = ?", email)
                    .first::<NumberRow>(tx)
                    .await?;
                if taken.is_some() && !new.notify_owner {
                    return Err(Stop::With(RegistrationOutcome::EmailTaken));
                }
                if !hold_username(tx, new.username.as_str(), email, new.at, new.name_reserved_until).await? {
                    return Err(Stop::With(RegistrationOutcome::UsernameTaken));
                }
                if taken.is_some() {
                    sql!(
                        "INSERT INTO mail_outbox (intent, email, created_at, next_attempt_at)
                     VALUES ('already_registered', ?, ?, ?)",
                        email,
                        new.at,
                        new.mail_at
                    )
                    .execute(tx)
                    .await?;
                    return Ok(RegistrationOutcome::EmailTaken);
                }
                let row = sql!(
                "INSERT INTO registrations (username, email, password_hash, created_at) VALUES (?, ?, ?, ?)
                 RETURNING id AS value",
                new.username.as_str(), email, new.password.0.as_str(), new.at
            )
                .first::<NumberRow>(tx)
                .await?;
                sql!(
                    "INSERT INTO mail_outbox (intent, registration_id, created_at, next_attempt_at)
                 VALUES ('verify', ?, ?, ?)",
                    row.map(|row| row.value),
                    new.at,
                    new.mail_at
                )
                .execute(tx)
                .await?;
                Ok(RegistrationOutcome::Pending)
            })
            .await;
        match done {
            Ok(registered) | Err(Stop::With(registered)) => Ok(registered),
            Err(Stop::DbError(error)) => Err(error.into()),
        }
    }

    async fn count_attempt(&self, email: Email, max_attempts: i32) -> Result<Vec<SentCode>> {
        let tried = sql!(
            "UPDATE registrations SET tries = tries + 1
             WHERE email = ? AND code_hash IS NOT NULL AND tries < ?
             RETURNING id, code_hash, code_expires_at",
            email.as_str(),
            max_attempts
        );
        let rows = self
            .db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| {
                tried.load::<SentCodeRow>(conn).await
            })
            .await?;
        Ok(rows.into_iter().map(SentCode::from).collect())
    }

    async fn activate(&self, code: SentCode, session: NewSession) -> Result<Activation> {
        let at = session.at;
        let done: Result<Activation, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                let row = sql!(
                    "DELETE FROM registrations WHERE id = ? AND code_hash = ? AND code_expires_at > ?
                 RETURNING username, email, password_hash",
                    code.registration.0,
                    code.hash.0,
                    at
                )
                .first::<RegistrationRow>(tx)
                .await?;
                let Some(row) = row else { return Ok(Activation::CodeInvalid) };
                let user = sql!(
                    "INSERT INTO users (username, email, password_hash, created_at) VALUES (?, ?, ?, ?)
                 RETURNING id AS value",
                    row.username.as_str(),
                    row.email.as_str(),
                    row.password_hash,
                    at
                )
                .first::<NumberRow>(tx)
                .await?
                .map_or(UserId(0), |row| UserId(row.value));
                sql!("INSERT INTO user_counters (user_id) VALUES (?)", user.0).execute(tx).await?;
                sql!("DELETE FROM registrations WHERE email = ?", row.email.as_str()).execute(tx).await?;
                sql!("DELETE FROM username_holds WHERE email = ?", row.email).execute(tx).await?;
                insert_session(tx, user, &session).await?;
                Ok(Activation::LoggedIn(user))
            })
            .await;
        match done {
            Ok(activation) => Ok(activation),
            // Another registration of the same name, or of the same address, was quicker.
            Err(DbError(error)) if error == Error::USERNAME_TAKEN => Ok(Activation::UsernameTaken),
            Err(DbError(error)) if error == Error::EMAIL_TAKEN => Ok(Activation::CodeInvalid),
            Err(error) => Err(error.into()),
        }
    }

    async fn find_credentials(&self, login: String) -> Result<Option<Credentials>> {
        let login = login.trim().to_lowercase();
        let found = if login.contains('@') {
            sql!("SELECT id, password_hash, is_active, is_verified FROM users WHERE email = ?", login)
        } else {
            sql!(
                "SELECT id, password_hash, is_active, is_verified FROM users WHERE lower(username) = ?",
                login
            )
        };
        Ok(self.db.first_row::<CredentialsRow>(found).await?.map(Credentials::from))
    }

    async fn find_pending_password_hash(
        &self,
        login: String,
        since: DateTime<Utc>,
    ) -> Result<Option<PasswordHash>> {
        let login = login.trim().to_lowercase();
        let found = if login.contains('@') {
            sql!(
                "SELECT password_hash AS value FROM registrations WHERE email = ? AND created_at >= ?
                 ORDER BY id DESC LIMIT 1",
                login,
                since
            )
        } else {
            sql!(
                "SELECT password_hash AS value FROM registrations WHERE lower(username) = ? AND created_at >= ?
                 ORDER BY id DESC LIMIT 1",
                login, since
            )
        };
        Ok(self.db.first_row::<TextRow>(found).await?.map(|row| PasswordHash(row.value)))
    }

    async fn find_password_hash(&self, user: UserId) -> Result<Option<PasswordHash>> {
        let found = sql!("SELECT password_hash AS value FROM users WHERE id = ?", user.0);
        Ok(self.db.first_row::<TextRow>(found).await?.map(|row| PasswordHash(row.value)))
    }

    async fn replace_password_hash(&self, user: UserId, old: PasswordHash, new: PasswordHash) -> Result<()> {
        let change = sql!(
            "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?",
            new.0,
            user.0,
            old.0
        );
        self.db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| change.execute(conn).await)
            .await?;
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
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                let changed = sql!(
                    "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?",
                    new.0,
                    user.0,
                    old.0
                );
                if changed.execute(tx).await? == 0 {
                    return Ok(None);
                }
                // A link that was mailed before must not undo the change.
                sql!("DELETE FROM password_resets WHERE user_id = ?", user.0).execute(tx).await?;
                Ok(Some(end_sessions(tx, user, Some(keep), at).await?))
            })
            .await;
        Ok(done?)
    }

    async fn request_reset(&self, email: Email, at: DateTime<Utc>, mail_at: DateTime<Utc>) -> Result<()> {
        let owed = sql!(
            "INSERT INTO mail_outbox (intent, email, created_at, next_attempt_at) VALUES ('reset', ?, ?, ?)",
            email.as_str(),
            at,
            mail_at
        );
        self.db
            .write::<_, DbError, _>(async move |conn: &mut Connection<'_>| owed.execute(conn).await)
            .await?;
        Ok(())
    }

    async fn reset_password(
        &self,
        token: ResetTokenHash,
        new: PasswordHash,
        at: DateTime<Utc>,
    ) -> Result<Option<(UserId, Vec<SessionId>)>> {
        let done: Result<_, DbError> = self.db.transaction(async move |tx: &mut Connection<'_>| {
            let used = sql!(
                "DELETE FROM password_resets WHERE token_hash = ? AND expires_at > ? RETURNING user_id AS value",
                token.0,
                at
            );
            let Some(row) = used.first::<NumberRow>(tx).await? else { return Ok(None) };
            let user = UserId(row.value);
            sql!("UPDATE users SET password_hash = ? WHERE id = ?", new.0, user.0).execute(tx).await?;
            Ok(Some((user, end_sessions(tx, user, None, at).await?)))
        }).await;
        Ok(done?)
    }

    async fn find_profile(&self, user: UserId) -> Result<Option<Profile>> {
        let found = sql!(
            "SELECT u.username, u.email, u.created_at, c.posts, c.followers, c.following
             FROM users u JOIN user_counters c ON c.user_id = u.id WHERE u.id = ?",
            user.0
        );
        let Some(row) = self.db.first_row::<ProfileRow>(found).await? else { return Ok(None) };
        let neighbours = sql!(
            "SELECT n.is_follower, n.id, n.username FROM (
               SELECT * FROM (SELECT true AS is_follower, follower_id AS id, follower_name AS username, created_at
                 FROM follows WHERE followee_id = ? ORDER BY created_at DESC, follower_id DESC LIMIT 100) AS followers
               UNION ALL
               SELECT * FROM (SELECT false AS is_follower, followee_id AS id, followee_name AS username, created_at
                 FROM follows WHERE follower_id = ? ORDER BY created_at DESC, followee_id DESC LIMIT 100) AS following
             ) AS n ORDER BY n.created_at DESC, n.id DESC",
            user.0,
            user.0
        );
        let (followers, following): (Vec<_>, Vec<_>) =
            self.db.load_rows::<NeighbourRow>(neighbours).await?.into_iter().partition(|row| row.is_follower);
        let summaries = |rows: Vec<NeighbourRow>| {
            rows.into_iter().map(|row| UserSummary { id: UserId(row.id), username: row.username }).collect()
        };
        Ok(Some(Profile {
            id: user,
            username: row.username,
            email: Email::from_stored(row.email),
            posts_count: row.posts,
            followers_count: row.followers,
            following_count: row.following,
            followers: summaries(followers),
            following: summaries(following),
            created_at: row.created_at,
        }))
    }
}
