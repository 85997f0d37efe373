//! Accounts: registration, passwords and how both are kept.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Error, Result, Violation,
    sessions::{NewSession, SessionId},
    users::{Email, Profile, UserId, Username},
};

/// A password of 8 to 128 characters that somebody wants to have.
///
/// Whoever only proves to know a password sends a plain string: old passwords may break newer rules.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword(String);

impl NewPassword {
    /// Checks what a client sent. `field` names it in the request.
    pub fn parse(field: &'static str, raw: &str) -> Result<Self> {
        Violation::check_length(field, raw, 0, 128)?;
        if raw.chars().count() < 8 {
            return Err(Error::PASSWORD_TOO_SHORT);
        }
        Ok(Self(raw.to_owned()))
    }

    /// The password in clear, for hashing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

/// A hashed password in PHC form (argon2id) or, from older systems, bcrypt's.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Identifies a pending registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegistrationId(pub i64);

/// Somebody who wants to join and has not yet shown that the address is theirs. Each has a name, a password
/// and a code of its own: a code activates only what was registered with it.
#[derive(Debug, Clone)]
pub struct NewRegistration {
    /// The wanted name.
    pub username: Username,
    /// The address to verify.
    pub email: Email,
    /// The password to be.
    pub password: PasswordHash,
    /// When it was asked for.
    pub at: DateTime<Utc>,
    /// When its mail is due.
    pub mail_at: DateTime<Utc>,
    /// Until when it holds the name.
    pub name_reserved_until: DateTime<Utc>,
    /// Whether the owner of an address that has an account is told by mail; else nothing is stored.
    pub notify_owner: bool,
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// It waits for its code, which is owed by mail.
    Pending,
    /// A verified account has the address.
    EmailTaken,
    /// A user has, or another registration holds, the name.
    UsernameTaken,
}

/// The keyed hash of a one-time code.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeHash(pub Vec<u8>);

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeHash(…)")
    }
}

/// A code that has been sent and can still be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentCode {
    /// What it would activate.
    pub registration: RegistrationId,
    /// The code.
    pub hash: CodeHash,
    /// From when it is too late.
    pub expires_at: DateTime<Utc>,
}

/// What became of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The user exists and is logged in.
    LoggedIn(UserId),
    /// The code has been used or replaced meanwhile.
    CodeInvalid,
    /// Somebody else has taken the name meanwhile.
    UsernameTaken,
}

/// What is needed to log somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who they are.
    pub user: UserId,
    /// What their password must match.
    pub password: PasswordHash,
    /// Whether they have been deactivated.
    pub is_active: bool,
    /// Whether their address is verified.
    pub is_verified: bool,
}

/// The hash of a reset token.
#[derive(Clone, PartialEq, Eq)]
pub struct ResetTokenHash(pub Vec<u8>);

impl fmt::Debug for ResetTokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetTokenHash(…)")
    }
}

/// Stores registrations and accounts.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait AccountRepository: Send + Sync {
    /// Stores a pending registration, holds its name and owes its mail, all or nothing. Earlier registrations of
    /// the address stay as they are; a name held for the same address is no obstacle.
    async fn register(&self, new: NewRegistration) -> Result<RegistrationOutcome>;

    /// Counts one try against every code that waits for `email`, before anybody compares it, and returns those
    /// that had a try left of `max_attempts`. Expired codes are among them.
    async fn count_attempt(&self, email: Email, max_attempts: i32) -> Result<Vec<SentCode>>;

    /// Makes the user of a registration whose code still is `code`, once, with their first session, and drops
    /// all other registrations of the address, all or nothing.
    async fn activate(&self, code: SentCode, session: NewSession) -> Result<Activation>;

    /// The credentials of the user with this name or address, without regard to case.
    async fn find_credentials(&self, login: String) -> Result<Option<Credentials>>;

    /// The password of the newest registration that waits with this name or address since `since`.
    async fn find_pending_password_hash(
        &self,
        login: String,
        since: DateTime<Utc>,
    ) -> Result<Option<PasswordHash>>;

    /// The password of a user.
    async fn find_password_hash(&self, user: UserId) -> Result<Option<PasswordHash>>;

    /// Replaces a hash by a better one of the same password, unless the password has changed meanwhile.
    async fn replace_password_hash(&self, user: UserId, old: PasswordHash, new: PasswordHash) -> Result<()>;

    /// Replaces the password if it still is `old`, and ends all sessions but `keep`, all or nothing. The ended
    /// ones; `None` if the password has changed meanwhile.
    async fn change_password(
        &self,
        user: UserId,
        old: PasswordHash,
        new: PasswordHash,
        keep: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Vec<SessionId>>>;

    /// Owes a mail with a reset link, due at `mail_at`, to whoever has this address. It does the same work for an
    /// unknown address.
    async fn request_reset(&self, email: Email, at: DateTime<Utc>, mail_at: DateTime<Utc>) -> Result<()>;

    /// Uses up a token that is valid at `at`, sets the password and ends all sessions of its user, all or nothing.
    /// The user and the ended sessions; `None` if the token is unknown, used, superseded or expired.
    async fn reset_password(
        &self,
        token: ResetTokenHash,
        new: PasswordHash,
        at: DateTime<Utc>,
    ) -> Result<Option<(UserId, Vec<SessionId>)>>;

    /// A user's own view of their account.
    async fn find_profile(&self, user: UserId) -> Result<Option<Profile>>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passwords_are_counted_in_characters() {
        assert!(NewPassword::parse("password", "pässwört").is_ok());
        assert_eq!(NewPassword::parse("password", "1234567"), Err(Error::PASSWORD_TOO_SHORT));
        assert!(NewPassword::parse("password", &"🦀".repeat(128)).is_ok());
        assert!(matches!(NewPassword::parse("password", &"🦀".repeat(129)), Err(Error::Invalid(_))));
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let password = NewPassword::parse("password", "correct horse").unwrap();
        assert!(!format!("{password:?}").contains("horse"));
    }

    proptest! {
        #[test]
        fn any_8_to_128_characters_are_a_password_as_they_are(raw in "(?s).{0,140}") {
            let parsed = NewPassword::parse("password", &raw);
            prop_assert_eq!(parsed.is_ok(), (8..=128).contains(&raw.chars().count()));
            if let Ok(password) = parsed {
                prop_assert_eq!(password.expose(), raw);
            }
        }
    }
}
