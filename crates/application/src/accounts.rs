//! Joining, logging in, and keeping an account.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Error, Result,
    accounts::{
        AccountRepository, Activation, CodeHash, NewPassword, NewRegistration, RegistrationOutcome,
        ResetTokenHash, SentCode,
    },
    clock::Clock,
    sessions::{NewSession, RefreshId, RefreshUse, Rotation, SessionRepository},
    users::{Email, Profile, UserId, Username},
};
use subtle::ConstantTimeEq as _;

use crate::{
    keyed_hash::KeyedHash,
    outbox::{CODE_LIFETIME, OutboxService},
    passwords::{PasswordCheck, PasswordHasher},
    random,
    rate_limit::RateLimitService,
    sessions::{Caller, SessionService},
    tokens::{RefreshToken, TokenPair, TokenService},
};

/// How many guesses a code survives.
const MAX_TRIES: i32 = 5;
/// How long somebody who has not verified their address is told so when they log in. Registrations are kept as long.
pub const REGISTRATION_LIFETIME: TimeDelta = TimeDelta::days(1);
/// How long a session can be refreshed at most.
const SESSION_LIFETIME: TimeDelta = TimeDelta::days(30);
/// How long a mail waits at most for the decision when it may leave.
const UNDECIDED: TimeDelta = TimeDelta::seconds(30);
/// The longest name of a client that is kept, in characters.
const MAX_CLIENT: usize = 200;

/// Joining, logging in, and keeping an account.
#[derive(Clone)]
pub struct AccountService {
    /// Where registrations and users are.
    pub accounts: Arc<dyn AccountRepository>,
    /// Where sessions are.
    pub session_repository: Arc<dyn SessionRepository>,
    /// Which sessions are believed to live.
    pub sessions: SessionService,
    /// Who hashes passwords.
    pub passwords: PasswordHasher,
    /// Who signs tokens.
    pub tokens: TokenService,
    /// The key of the hashes of codes and reset tokens.
    pub keyed_hash: KeyedHash,
    /// Who sends what is owed.
    pub outbox: OutboxService,
    /// How often somebody may have a mail sent.
    pub rate_limits: RateLimitService,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whether a stranger may learn that an address has an account.
    pub hide_registered_emails: bool,
    /// For how long a refresh token that has just been used gets its successor once more.
    pub refresh_grace: TimeDelta,
}

impl AccountService {
    /// Takes a registration that somebody at `from` asks for, and whose code goes out by mail.
    pub async fn register(
        &self,
        username: Username,
        email: Email,
        password: NewPassword,
        from: IpAddr,
    ) -> Result<()> {
        let password = self.passwords.hash(password.expose().to_owned()).await?;
        let at = self.clock.now();
        let new = NewRegistration {
            username,
            email: email.clone(),
            password,
            at,
            mail_at: self.undecided(at),
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
        self.send_in_turn(email, from, at).await
    }

    /// When a mail is due that is asked for now, until it is known when it may leave. Only what has been stored counts
    /// against the limits; should we end in between, it leaves then.
    fn undecided(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        if self.rate_limits.limits_mail() { at + UNDECIDED } else { at }
    }

    /// Lets a mail leave that was asked for at `at`, as soon as the limits allow.
    async fn send_in_turn(&self, email: Email, from: IpAddr, at: DateTime<Utc>) -> Result<()> {
        if self.rate_limits.limits_mail() {
            let leaves_at = self.rate_limits.schedule_mail(&email, from, at).await;
            self.outbox.reschedule(email, at, leaves_at).await?;
        }
        self.outbox.wake();
        Ok(())
    }

    /// Makes a user of the registration that this code was sent for, and logs them in.
    pub async fn verify_otp(&self, email: Email, otp: String, client: Option<String>) -> Result<TokenPair> {
        // Counted before compared: however many guess at once, five are heard.
        let sent = self.accounts.count_attempt(email, MAX_TRIES).await?;
        let code = sent.into_iter().find(|sent| self.fits(sent, &otp)).ok_or(Error::INVALID_OTP)?;
        let now = self.clock.now();
        if code.expires_at <= now {
            return Err(Error::EXPIRED_OTP);
        }
        let session = new_session(now, client)?;
        match self.accounts.activate(code, session.clone()).await? {
            Activation::LoggedIn(user) => self.pair(user, &session),
            Activation::CodeInvalid => Err(Error::INVALID_OTP),
            Activation::UsernameTaken => Err(Error::USERNAME_TAKEN),
        }
    }

    fn fits(&self, sent: &SentCode, otp: &str) -> bool {
        let CodeHash(hash) = self.keyed_hash.hash_code(sent.registration, otp);
        hash.ct_eq(&sent.hash.0).into()
    }

    /// Logs in by name or address. An unknown user and a wrong password get the same answer in the same time.
    pub async fn login(&self, login: String, password: String, client: Option<String>) -> Result<TokenPair> {
        let login = if login.contains('\0') { String::new() } else { login };
        let now = self.clock.now();
        let Some(known) = self.accounts.find_credentials(login.clone()).await? else {
            let pending =
                self.accounts.find_pending_password_hash(login, now - REGISTRATION_LIFETIME).await?;
            return match self.passwords.verify(password, pending).await? {
                PasswordCheck::Invalid => Err(Error::BAD_CREDENTIALS),
                PasswordCheck::Valid | PasswordCheck::ValidButOutdated => Err(Error::NOT_VERIFIED),
            };
        };
        let verdict = self.passwords.verify(password.clone(), Some(known.password.clone())).await?;
        if verdict == PasswordCheck::Invalid {
            return Err(Error::BAD_CREDENTIALS);
        }
        if !known.is_active {
            return Err(Error::INACTIVE_USER);
        }
        if !known.is_verified {
            return Err(Error::NOT_VERIFIED);
        }
        let session = new_session(now, client)?;
        if !self.session_repository.create(known.user, known.password.clone(), session.clone()).await? {
            return Err(Error::BAD_CREDENTIALS); // the password has just been changed
        }
        if verdict == PasswordCheck::ValidButOutdated {
            let rehashed = async {
                let new = self.passwords.hash(password).await?;
                self.accounts.replace_password_hash(known.user, known.password, new).await
            };
            if let Err(error) = rehashed.await {
                tracing::warn!(%error, "an old password hash could not be replaced; the next login tries again");
            }
        }
        self.pair(known.user, &session)
    }

    /// Exchanges a refresh token for a new pair, once. A second use ends the session, save for a short grace.
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
                tracing::warn!(
                    user.id = claims.user.0,
                    "a refresh token was used twice; its session is ended"
                );
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
    pub async fn change_password(&self, caller: Caller, current: String, new: NewPassword) -> Result<()> {
        let old = self.accounts.find_password_hash(caller.user).await?.ok_or(Error::INVALID_TOKEN)?;
        if self.passwords.verify(current, Some(old.clone())).await? == PasswordCheck::Invalid {
            return Err(Error::WRONG_PASSWORD);
        }
        let new = self.passwords.hash(new.expose().to_owned()).await?;
        let ended =
            self.accounts.change_password(caller.user, old, new, caller.session, self.clock.now()).await?;
        self.sessions.revoke(&ended.ok_or(Error::WRONG_PASSWORD)?);
        Ok(())
    }

    /// Owes a reset link, which somebody at `from` asks for, to whoever has this address, if anybody does.
    pub async fn forgot_password(&self, email: Email, from: IpAddr) -> Result<()> {
        let at = self.clock.now();
        self.accounts.request_reset(email.clone(), at, self.undecided(at)).await?;
        self.send_in_turn(email, from, at).await
    }

    /// Sets the password by a link that was mailed, and ends all sessions.
    pub async fn reset_password(&self, token: String, new: NewPassword) -> Result<()> {
        let ResetTokenHash(hash) = self.keyed_hash.hash_reset_token(&token);
        let new = self.passwords.hash(new.expose().to_owned()).await?;
        let done = self.accounts.reset_password(ResetTokenHash(hash), new, self.clock.now()).await?;
        let (_, ended) = done.ok_or(Error::INVALID_RESET_TOKEN)?;
        self.sessions.revoke(&ended);
        Ok(())
    }

    /// The caller's own view of their account.
    pub async fn profile(&self, user: UserId) -> Result<Profile> {
        self.accounts.find_profile(user).await?.ok_or(Error::INVALID_TOKEN)
    }

    fn pair(&self, user: UserId, session: &NewSession) -> Result<TokenPair> {
        self.tokens.issue_pair(user, session.id, &session.refresh, session.at, session.at, session.ends_at)
    }
}

fn new_session(at: DateTime<Utc>, client: Option<String>) -> Result<NewSession> {
    Ok(NewSession {
        id: domain::sessions::SessionId(random::id()?),
        refresh: RefreshId(random::token::<16>()?),
        at,
        ends_at: at + SESSION_LIFETIME,
        client: client.map(|client| client.chars().take(MAX_CLIENT).collect()),
    })
}

#[cfg(test)]
mod tests;
