//! Accounts: registrations and credentials.

use crate::{
    Result, Violation,
    passwords::PasswordHash,
    sessions::{NewSession, SessionId},
    text,
    users::{Email, Profile, UserId, Username},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// Identifies a pending registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegistrationId(pub i64);

/// The name of a pending registration: 22 random letters, digits, hyphens and underscores, which only its client
/// knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationHandle(String);

impl RegistrationHandle {
    const LENGTH: usize = 22;

    /// Parses client input. Returns `None` if no registration can have this name.
    pub fn parse(raw: &str) -> Option<Self> {
        let raw = raw.trim();
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (raw.len() == Self::LENGTH && raw.bytes().all(is_valid)).then(|| Self(raw.to_owned()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A registration whose e-mail address has yet to be verified. Each has its own username, password and code: a code
/// activates only the registration that it was sent for.
#[derive(Debug, Clone)]
pub struct NewRegistration {
    /// The requested username.
    pub username: Username,
    /// The address to verify.
    pub email: Email,
    /// The hash of the password. Its salt depends on the address, so that equal passwords for an address have equal
    /// hashes.
    pub password: PasswordHash,
    /// The name of the registration for its client.
    pub handle: RegistrationHandle,
    /// When it was requested.
    pub at: DateTime<Utc>,
    /// When its mail is due.
    pub mail_at: DateTime<Utc>,
    /// Until when it reserves the username.
    pub name_reserved_until: DateTime<Utc>,
    /// Whether to send a mail to the owner if an account has the address. Otherwise nothing is stored then.
    pub notify_owner: bool,
}

/// Outcome of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// The registration is pending; a mail with its code is queued.
    Pending,
    /// A verified account has the address.
    EmailTaken,
    /// A user has, or another registration reserves, the username.
    UsernameTaken,
}

/// A one-time code: six digits.
#[derive(Clone, derive_more::Debug, PartialEq, Eq)]
#[debug("Otp(…)")]
pub struct Otp(String);

impl Otp {
    /// Parses client input. Spaces, hyphens and invisible characters, which come along when a code is pasted, are ignored.
    pub fn parse(raw: &str) -> Result<Self, Violation> {
        let is_hyphen = |char| {
            matches!(char, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}')
        };
        let code: String = text::without_invisible(raw).chars().filter(|char| !is_hyphen(*char)).collect();
        if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Violation::value("otp", "The code should have six digits"));
        }
        Ok(Self(code))
    }

    /// Returns the digits, for hashing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The keyed hash of a one-time code.
#[derive(Clone, derive_more::Debug, PartialEq, Eq)]
#[debug("CodeHash(…)")]
pub struct CodeHash(pub Vec<u8>);

/// The keyed hash of a client's network address.
#[derive(Clone, derive_more::Debug, PartialEq, Eq, Hash)]
#[debug("ClientHash(…)")]
pub struct ClientHash(pub Vec<u8>);

/// An attempt to enter a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeAttempt {
    /// The address that the code was sent to.
    pub email: Email,
    /// The registration that the code must belong to. `None`: any registration of the address.
    pub registration: Option<RegistrationHandle>,
    /// The client that makes the attempt.
    pub client: ClientHash,
}

/// Number of attempts that a code allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// From one client. Other clients cannot use them up.
    pub per_client: i32,
    /// From all clients together.
    pub total: i32,
}

/// A code that was sent and has attempts left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentCode {
    /// The registration that it activates.
    pub registration: RegistrationId,
    /// The hash of the code.
    pub hash: CodeHash,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

/// Outcome of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The user was created and has a session.
    LoggedIn(UserId),
    /// The user was created and has a session. None of the different passwords that were registered for the address is
    /// valid, since a stranger may have chosen any of them; a mail with a reset link is queued.
    LoggedInWithoutPassword(UserId),
    /// The code has been used or replaced since.
    CodeInvalid,
    /// Another user has taken the username since.
    UsernameTaken,
}

/// The data that a login checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: UserId,
    /// The hash that the password must match.
    pub password: PasswordHash,
    /// Whether the user has not been deactivated.
    pub is_active: bool,
    /// Whether the user's address is verified.
    pub is_verified: bool,
}

/// The hash of a reset token.
#[derive(Clone, derive_more::Debug, PartialEq, Eq)]
#[debug("ResetTokenHash(…)")]
pub struct ResetTokenHash(pub Vec<u8>);

/// Stores registrations and accounts.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait AccountRepository: Send + Sync {
    /// Stores a pending registration, reserves its username and queues its mail in one transaction. Earlier
    /// registrations of the address stay unchanged. A username reserved for the same address counts as free.
    async fn register(&self, new: NewRegistration) -> Result<RegistrationOutcome>;

    /// Counts one attempt for every code that it may be meant for and that has attempts left, and returns these codes.
    /// Called before codes are compared, so that concurrent guesses count too. Includes expired codes.
    async fn count_attempt(&self, attempt: CodeAttempt, limits: AttemptLimits) -> Result<Vec<SentCode>>;

    /// Creates the user of a registration whose code still is `code`, with a first session, and deletes all other
    /// registrations of the address, in one transaction. Of concurrent calls with the same code, one succeeds.
    ///
    /// `if_contested` is the hash that the user gets instead of the registered one if registrations of the address with
    /// different passwords are pending. A mail with a reset link, due immediately, is queued then.
    async fn activate(
        &self,
        code: SentCode,
        session: NewSession,
        if_contested: Option<PasswordHash>,
    ) -> Result<Activation>;

    /// Returns the credentials of the user with this username or address, regardless of case.
    async fn find_credentials(&self, login: String) -> Result<Option<Credentials>>;

    /// Returns the password hash of the newest pending registration with this username or address, if it was requested
    /// at or after `since`.
    async fn find_pending_password_hash(
        &self,
        login: String,
        since: DateTime<Utc>,
    ) -> Result<Option<PasswordHash>>;

    /// Returns the password hash of a user.
    async fn find_password_hash(&self, user: UserId) -> Result<Option<PasswordHash>>;

    /// Replaces a hash with a stronger one of the same password, unless the password has changed since.
    async fn replace_password_hash(&self, user: UserId, old: PasswordHash, new: PasswordHash) -> Result<()>;

    /// Replaces the password if it still is `old` and ends all sessions except `keep` in one transaction. Returns the
    /// ended sessions, or `None` if the password has changed since.
    async fn change_password(
        &self,
        user: UserId,
        old: PasswordHash,
        new: PasswordHash,
        keep: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Vec<SessionId>>>;

    /// Queues a mail with a reset link, due at `mail_at`. Does the same work for an unknown address, so that its
    /// duration reveals nothing.
    async fn request_reset(&self, email: Email, at: DateTime<Utc>, mail_at: DateTime<Utc>) -> Result<()>;

    /// Consumes a reset token that is valid at `at`, sets the password and ends all sessions of its user in one
    /// transaction. Returns the user and the ended sessions, or `None` if the token is unknown, used, replaced or expired.
    async fn reset_password(
        &self,
        token: ResetTokenHash,
        new: PasswordHash,
        at: DateTime<Utc>,
    ) -> Result<Option<(UserId, Vec<SessionId>)>>;

    /// Returns a user's own view of their account.
    async fn find_profile(&self, user: UserId) -> Result<Option<Profile>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn otp_ignores_spaces_hyphens_and_invisible_characters() {
        for pasted in [
            "123456",
            " 123 456\n",
            "123-456",
            "1 2 3 4 5 6",
            "123\u{a0}456",
            "123\u{202f}456",
            "\u{200b}123\u{2011}456\u{feff}",
            "\u{202a}123\u{2013}456\u{202c}",
            "123\u{ad}456\t",
        ] {
            assert_eq!(Otp::parse(pasted).unwrap().expose(), "123456", "{pasted:?}");
        }
    }

    #[test]
    fn otp_of_another_shape_is_rejected() {
        for bad in ["", " ", "-", "12345", "1234567", "12345x", "123.456", "+123456", "١٢٣٤٥٦", "12345\u{0}"]
        {
            assert!(Otp::parse(bad).is_err(), "{bad:?}");
        }
        assert!(!format!("{:?}", Otp::parse("123456")).contains("123456"));
    }

    #[test]
    fn registration_handle_is_22_url_safe_characters() {
        assert_eq!(
            RegistrationHandle::parse(" a-handle_of-22-letters\n").unwrap().as_str(),
            "a-handle_of-22-letters"
        );
        for bad in
            ["", "a-handle", "a-handle_of-22-letters+", "a-handle_of-22-letter\0", "a-handle_of-22-lettér"]
        {
            assert_eq!(RegistrationHandle::parse(bad), None, "{bad:?}");
        }
    }
}
