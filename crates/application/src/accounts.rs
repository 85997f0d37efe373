//! Registration, login and passwords.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Error, Result,
    accounts::{
        AccountRepository, Activation, AttemptLimits, CodeAttempt, NewRegistration, Otp, RegistrationHandle,
        RegistrationOutcome, SentCode,
    },
    clock::Clock,
    passwords::NewPassword,
    sessions::{NewSession, RefreshId, RefreshUse, Rotation, SessionRepository},
    text,
    users::{Email, Profile, UserId, Username, normalize_login},
};
use subtle::ConstantTimeEq as _;

use crate::{
    keyed_hash::KeyedHash,
    outbox::{CODE_LIFETIME, OutboxService},
    passwords::{PasswordCheck, PasswordHasher, Requester},
    random,
    rate_limit::RateLimitService,
    sessions::{Caller, SessionService},
    tokens::{RefreshToken, TokenPair, TokenService},
};

/// Number of attempts that a code allows. A stranger at another address cannot use up those of the owner.
const CODE_ATTEMPTS: AttemptLimits = AttemptLimits { per_client: 5, total: 25 };
/// How long an unverified registration is stored. During this time, its login fails with "not verified".
pub const REGISTRATION_LIFETIME: TimeDelta = TimeDelta::days(1);
/// How long a session can be refreshed.
const SESSION_LIFETIME: TimeDelta = TimeDelta::days(30);
/// Delay of a mail until the rate limits have decided when it may be sent.
const MAIL_DECISION_TIMEOUT: TimeDelta = TimeDelta::seconds(30);
/// Maximum length of a stored `User-Agent`, in characters.
const MAX_CLIENT_LENGTH: usize = 200;

/// A verified address, whose user is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The tokens of the first session.
    pub tokens: TokenPair,
    /// Whether the account has no password yet, because different ones were registered for the address.
    pub password_reset_required: bool,
}

/// Use cases of accounts.
#[derive(Clone)]
pub struct AccountService {
    /// Stores registrations and users.
    pub accounts: Arc<dyn AccountRepository>,
    /// Stores sessions.
    pub session_repository: Arc<dyn SessionRepository>,
    /// Checks sessions.
    pub sessions: SessionService,
    /// Hashes passwords.
    pub passwords: PasswordHasher,
    /// Signs and verifies tokens.
    pub tokens: TokenService,
    /// Hashes codes and reset tokens.
    pub keyed_hash: KeyedHash,
    /// Sends mails.
    pub outbox: OutboxService,
    /// Limits requests that send mails.
    pub rate_limits: RateLimitService,
    /// The current time.
    pub clock: Arc<dyn Clock>,
    /// Whether registration conceals that an account has the address.
    pub hide_registered_emails: bool,
    /// How long a used refresh token yields the same successor again.
    pub refresh_grace: TimeDelta,
}

impl AccountService {
    /// Stores a registration, and sends its code by mail. Returns the name by which the client can refer to the
    /// registration.
    pub async fn register(
        &self,
        username: Username,
        email: Email,
        password: NewPassword,
        requester: &Requester,
    ) -> Result<RegistrationHandle> {
        let salt = self.keyed_hash.registration_salt(&email);
        let password = self.passwords.hash_with_salt(password.expose().to_owned(), salt, requester).await?;
        let handle = RegistrationHandle::parse(&random::token::<16>()?)
            .ok_or_else(|| Error::internal("a random token is not a registration handle"))?;
        let at = self.clock.now();
        let new = NewRegistration {
            username,
            email: email.clone(),
            password,
            handle: handle.clone(),
            at,
            mail_at: self.provisional_due_time(at),
            name_reserved_until: at + CODE_LIFETIME,
            notify_owner: self.hide_registered_emails,
        };
        match self.accounts.register(new).await? {
            RegistrationOutcome::UsernameTaken => return Err(Error::USERNAME_TAKEN),
            RegistrationOutcome::EmailTaken if !self.hide_registered_emails => {
                return Err(Error::EMAIL_TAKEN);
            }
            RegistrationOutcome::EmailTaken | RegistrationOutcome::Pending => {}
        }
        self.schedule_mail(email, requester.address, at).await?;
        Ok(handle)
    }

    /// Returns when a mail is due until the rate limits have decided. Mails are stored first, since only stored ones
    /// count against the limits; after a crash in between, the mail is sent at this time.
    fn provisional_due_time(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        if self.rate_limits.limits_mail() { at + MAIL_DECISION_TIMEOUT } else { at }
    }

    /// Sets when the mail that was requested at `at` is sent, by the rate limits.
    async fn schedule_mail(&self, email: Email, from: IpAddr, at: DateTime<Utc>) -> Result<()> {
        if self.rate_limits.limits_mail() {
            let due_at = self.rate_limits.schedule_mail(&email, from, at).await;
            self.outbox.repository.reschedule(email, at, due_at).await?;
        }
        self.outbox.wake.notify_one();
        Ok(())
    }

    /// Creates the user of the registration that this code was sent for, and logs them in. `from` is the network address
    /// of the client.
    ///
    /// The code proves that the caller reads the mails to the address, but not which of several registrations is theirs:
    /// anyone can register an address before or after its owner. So unless the caller names the registration, none of
    /// different passwords becomes valid.
    pub async fn verify_otp(
        &self,
        email: Email,
        otp: Otp,
        registration: Option<RegistrationHandle>,
        from: IpAddr,
        client: Option<String>,
    ) -> Result<Verified> {
        let if_contested = registration.is_none().then(|| self.passwords.unusable_hash()).transpose()?;
        let attempt = CodeAttempt { email, registration, client: self.keyed_hash.hash_client(from) };
        // Attempts are counted before codes are compared, so that concurrent guesses count too.
        let sent = self.accounts.count_attempt(attempt, CODE_ATTEMPTS).await?;
        let right = sent.into_iter().filter(|sent| self.is_right_code(sent, &otp));
        let code = right.max_by_key(|sent| sent.expires_at).ok_or(Error::INVALID_OTP)?;
        let now = self.clock.now();
        if code.expires_at <= now {
            return Err(Error::EXPIRED_OTP);
        }
        let session = new_session(now, client)?;
        let (user, password_reset_required) =
            match self.accounts.activate(code, session.clone(), if_contested).await? {
                Activation::LoggedIn(user) => (user, false),
                Activation::LoggedInWithoutPassword(user) => {
                    self.outbox.wake.notify_one();
                    (user, true)
                }
                Activation::CodeInvalid => return Err(Error::INVALID_OTP),
                Activation::UsernameTaken => return Err(Error::USERNAME_TAKEN),
            };
        Ok(Verified { tokens: self.issue_pair(user, &session)?, password_reset_required })
    }

    fn is_right_code(&self, sent: &SentCode, otp: &Otp) -> bool {
        self.keyed_hash.hash_code(sent.registration, otp.expose()).0.ct_eq(&sent.hash.0).into()
    }

    /// Logs in by username or address. Takes the same time and returns the same error for an unknown user as for a wrong
    /// password. No session is left if `requester` is gone at the end.
    pub async fn login(
        &self,
        login: String,
        password: String,
        client: Option<String>,
        requester: &Requester,
    ) -> Result<TokenPair> {
        let login = if login.contains('\0') { String::new() } else { normalize_login(&login) };
        let now = self.clock.now();
        let Some(credentials) = self.accounts.find_credentials(login.clone()).await? else {
            let pending =
                self.accounts.find_pending_password_hash(login, now - REGISTRATION_LIFETIME).await?;
            return match self.passwords.verify(password, pending, requester).await? {
                PasswordCheck::Invalid => Err(Error::BAD_CREDENTIALS),
                PasswordCheck::Valid | PasswordCheck::ValidButOutdated => Err(Error::NOT_VERIFIED),
            };
        };
        let stored = credentials.password.clone();
        let check = self.passwords.verify(password.clone(), Some(stored), requester).await?;
        if check == PasswordCheck::Invalid {
            return Err(Error::BAD_CREDENTIALS);
        }
        if !credentials.is_active {
            return Err(Error::INACTIVE_USER);
        }
        if !credentials.is_verified {
            return Err(Error::NOT_VERIFIED);
        }
        let session = new_session(now, client)?;
        if !self
            .session_repository
            .create(credentials.user, credentials.password.clone(), session.clone())
            .await?
        {
            return Err(Error::BAD_CREDENTIALS); // the password was changed concurrently
        }
        if check == PasswordCheck::ValidButOutdated {
            let rehash = async {
                let new = self.passwords.hash(password, requester).await?;
                self.accounts.replace_password_hash(credentials.user, credentials.password, new).await
            };
            if let Err(error) = rehash.await {
                tracing::warn!(%error, "failed to replace an outdated password hash, the next login retries");
            }
        }
        if requester.gone.is_cancelled() {
            // Nothing gets the tokens: the client must not find a session of a login that failed.
            self.session_repository.end(credentials.user, session.id, self.clock.now()).await?;
            return Err(Error::unavailable("the client has left or has been answered"));
        }
        self.issue_pair(credentials.user, &session)
    }

    /// Exchanges a refresh token for a new pair. A second use ends the session, unless it is within the grace period.
    pub async fn refresh(&self, token: RefreshToken) -> Result<TokenPair> {
        let claims = self.tokens.verify_refresh(&token)?;
        let now = self.clock.now();
        let grace_starts_at = (!self.refresh_grace.is_zero()).then(|| now - self.refresh_grace);
        let rotation = self
            .session_repository
            .rotate(RefreshUse {
                session: claims.session,
                user: claims.user,
                token: claims.id,
                successor: RefreshId(random::token::<16>()?),
                at: now,
                grace_starts_at,
            })
            .await?;
        match rotation {
            Rotation::Issued { refresh, issued_at, ends_at } => {
                self.tokens.issue_pair(claims.user, claims.session, &refresh, issued_at, now, ends_at)
            }
            Rotation::Reused => {
                tracing::warn!(user.id = claims.user.0, "ended a session: a refresh token was used twice");
                self.sessions.revoke(&[claims.session]);
                Err(Error::INVALID_TOKEN)
            }
            Rotation::SessionInvalid => Err(Error::INVALID_TOKEN),
        }
    }

    /// Ends the caller's session.
    pub async fn logout(&self, caller: Caller) -> Result<()> {
        self.session_repository.end(caller.user, caller.session, self.clock.now()).await?;
        self.sessions.revoke(&[caller.session]);
        Ok(())
    }

    /// Changes the password and ends all other sessions.
    pub async fn change_password(
        &self,
        caller: Caller,
        current: String,
        new: NewPassword,
        requester: &Requester,
    ) -> Result<()> {
        let old = self.accounts.find_password_hash(caller.user).await?.ok_or(Error::INVALID_TOKEN)?;
        if self.passwords.verify(current, Some(old.clone()), requester).await? == PasswordCheck::Invalid {
            return Err(Error::WRONG_PASSWORD);
        }
        let new = self.passwords.hash(new.expose().to_owned(), requester).await?;
        let ended =
            self.accounts.change_password(caller.user, old, new, caller.session, self.clock.now()).await?;
        self.sessions.revoke(&ended.ok_or(Error::WRONG_PASSWORD)?);
        Ok(())
    }

    /// Sends a reset link if an account has the address. `from` is the network address of the client.
    pub async fn forgot_password(&self, email: Email, from: IpAddr) -> Result<()> {
        let at = self.clock.now();
        self.accounts.request_reset(email.clone(), at, self.provisional_due_time(at)).await?;
        self.schedule_mail(email, from, at).await
    }

    /// Sets the password with the token of a reset link, and ends all sessions. Spaces and invisible characters, which
    /// come along when a token is pasted, are ignored.
    pub async fn reset_password(&self, token: String, new: NewPassword, requester: &Requester) -> Result<()> {
        let token = self.keyed_hash.hash_reset_token(&text::without_invisible(&token));
        let new = self.passwords.hash(new.expose().to_owned(), requester).await?;
        let reset = self.accounts.reset_password(token, new, self.clock.now()).await?;
        let (_, ended) = reset.ok_or(Error::INVALID_RESET_TOKEN)?;
        self.sessions.revoke(&ended);
        Ok(())
    }

    /// Returns the caller's own view of their account.
    pub async fn profile(&self, user: UserId) -> Result<Profile> {
        self.accounts.find_profile(user).await?.ok_or(Error::INVALID_TOKEN)
    }

    fn issue_pair(&self, user: UserId, session: &NewSession) -> Result<TokenPair> {
        self.tokens.issue_pair(user, session.id, &session.refresh, session.at, session.at, session.ends_at)
    }
}

fn new_session(at: DateTime<Utc>, client: Option<String>) -> Result<NewSession> {
    Ok(NewSession {
        id: domain::sessions::SessionId(random::id()?),
        refresh: RefreshId(random::token::<16>()?),
        at,
        ends_at: at + SESSION_LIFETIME,
        client: client.map(|client| client.chars().take(MAX_CLIENT_LENGTH).collect()),
    })
}

#[cfg(test)]
mod tests;
