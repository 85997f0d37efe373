//! Registrations and accounts.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    accounts::{
        AccountRepository, Activation, AttemptLimits, CodeAttempt, Credentials, NewRegistration,
        RegistrationId, RegistrationOutcome, ResetTokenHash, SentCode,
    },
    outbox::MailIntent,
    passwords::PasswordHash,
    sessions::{NewSession, SessionId},
    users::{Email, Profile, UserId, UserSummary},
};

use super::store::{InMemory, QueuedMail, Registration, Tables, User, count};

/// Maximum number of followers and followed users in a profile.
const MAX_PROFILE_USERS: usize = 100;

impl Tables {
    fn user_by_email(&self, email: &str) -> Option<(&i64, &User)> {
        self.users.iter().find(|(_, user)| user.email == email)
    }

    fn user_by_username(&self, username: &str) -> Option<(&i64, &User)> {
        self.users.iter().find(|(_, user)| user.username.eq_ignore_ascii_case(username))
    }

    /// Reserves a username for an address, and returns whether it is free.
    pub(super) fn reserve_username(
        &mut self,
        username: &str,
        email: &str,
        at: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> bool {
        let key = username.to_ascii_lowercase();
        let reservation = self.reservations.get(&key);
        let is_reserved = reservation.is_some_and(|(owner, ends_at)| owner != email && *ends_at > at);
        if is_reserved || self.user_by_username(username).is_some() {
            return false;
        }
        self.reservations.insert(key, (email.to_owned(), until));
        true
    }

    fn queue(&mut self, intent: MailIntent, at: DateTime<Utc>, due_at: DateTime<Utc>) {
        let id = self.next_id();
        self.mails.insert(id, QueuedMail { intent, attempts: 0, queued_at: at, due_at: Some(due_at) });
    }

    /// Replaces the password if it still is `old`, and returns whether it was.
    fn replace_password(&mut self, user: UserId, old: &PasswordHash, new: PasswordHash) -> bool {
        match self.users.get_mut(&user.0) {
            Some(user) if user.password == *old => {
                user.password = new;
                true
            }
            _ => false,
        }
    }

    /// Returns the newest users, given with the ids of their follows, and their number.
    fn neighbors(&self, follows: impl Iterator<Item = (i64, i64)>) -> (Vec<UserSummary>, i64) {
        let mut follows: Vec<_> = follows.collect();
        follows.sort_unstable_by(|one, other| other.cmp(one));
        let newest = follows.iter().take(MAX_PROFILE_USERS).map(|(_, user)| UserId(*user));
        let summaries = newest.map(|id| UserSummary { id, username: self.username(id) }).collect();
        (summaries, count(follows.iter()))
    }
}

#[async_trait]
impl AccountRepository for InMemory {
    async fn register(&self, new: NewRegistration) -> Result<RegistrationOutcome> {
        let mut tables = self.lock();
        let email = new.email.as_str();
        let is_taken = tables.user_by_email(email).is_some();
        if is_taken && !new.notify_owner {
            return Ok(RegistrationOutcome::EmailTaken);
        }
        if !tables.reserve_username(new.username.as_str(), email, new.at, new.name_reserved_until) {
            return Ok(RegistrationOutcome::UsernameTaken);
        }
        if is_taken {
            tables.queue(MailIntent::AlreadyRegistered(new.email), new.at, new.mail_at);
            return Ok(RegistrationOutcome::EmailTaken);
        }
        let id = tables.next_id();
        let registration = Registration {
            username: new.username.as_str().to_owned(),
            email: email.to_owned(),
            password: new.password,
            created_at: new.at,
            handle: new.handle,
            code: None,
            attempts: HashMap::new(),
        };
        tables.registrations.insert(id, registration);
        tables.queue(MailIntent::VerifyEmail(RegistrationId(id)), new.at, new.mail_at);
        Ok(RegistrationOutcome::Pending)
    }

    async fn count_attempt(&self, attempt: CodeAttempt, limits: AttemptLimits) -> Result<Vec<SentCode>> {
        let mut codes = Vec::new();
        for (id, registration) in &mut self.lock().registrations {
            let is_meant = attempt.registration.as_ref().is_none_or(|handle| *handle == registration.handle);
            if registration.email != attempt.email.as_str() || !is_meant {
                continue;
            }
            let total: i32 = registration.attempts.values().sum();
            let of_client = registration.attempts.get(&attempt.client).copied().unwrap_or_default();
            if total >= limits.total || of_client >= limits.per_client {
                continue;
            }
            if let Some((hash, expires_at)) = registration.code.clone() {
                registration.attempts.insert(attempt.client.clone(), of_client + 1);
                codes.push(SentCode { registration: RegistrationId(*id), hash, expires_at });
            }
        }
        Ok(codes)
    }

    async fn activate(
        &self,
        code: SentCode,
        session: NewSession,
        if_contested: Option<PasswordHash>,
    ) -> Result<Activation> {
        let mut tables = self.lock();
        let found = tables.registrations.get(&code.registration.0).filter(|registration| {
            let sent = registration.code.as_ref();
            sent.is_some_and(|(hash, expires_at)| *hash == code.hash && *expires_at > session.at)
        });
        let Some(registration) = found else { return Ok(Activation::CodeInvalid) };
        if tables.user_by_username(&registration.username).is_some() {
            return Ok(Activation::UsernameTaken);
        }
        let is_contested = tables
            .registrations
            .values()
            .any(|other| other.email == registration.email && other.password != registration.password);
        let replacement = if_contested.filter(|_| is_contested);
        let has_password = replacement.is_none();
        let user = User {
            username: registration.username.clone(),
            email: registration.email.clone(),
            password: replacement.unwrap_or_else(|| registration.password.clone()),
            is_active: true,
            created_at: session.at,
        };
        if !has_password {
            let email = Email::from_stored(user.email.clone());
            tables.queue(MailIntent::ResetPassword(email), session.at, session.at);
        }
        tables.registrations.retain(|_, other| other.email != user.email);
        tables.reservations.retain(|_, (email, _)| *email != user.email);
        let id = tables.next_id();
        tables.users.insert(id, user);
        tables.insert_session(UserId(id), session);
        let user = UserId(id);
        Ok(if has_password { Activation::LoggedIn(user) } else { Activation::LoggedInWithoutPassword(user) })
    }

    async fn find_credentials(&self, login: String) -> Result<Option<Credentials>> {
        let (tables, login) = (self.lock(), login.trim().to_lowercase());
        let found = tables.user_by_email(&login).or_else(|| tables.user_by_username(&login));
        Ok(found.map(|(id, user)| Credentials {
            user: UserId(*id),
            password: user.password.clone(),
            is_active: user.is_active,
            is_verified: true,
        }))
    }

    async fn find_pending_password_hash(
        &self,
        login: String,
        since: DateTime<Utc>,
    ) -> Result<Option<PasswordHash>> {
        let (tables, login) = (self.lock(), login.trim().to_lowercase());
        let newest = tables.registrations.values().rev().find(|registration| {
            let is_named = registration.email == login || registration.username.eq_ignore_ascii_case(&login);
            is_named && registration.created_at >= since
        });
        Ok(newest.map(|registration| registration.password.clone()))
    }

    async fn find_password_hash(&self, user: UserId) -> Result<Option<PasswordHash>> {
        Ok(self.lock().users.get(&user.0).map(|user| user.password.clone()))
    }

    async fn replace_password_hash(&self, user: UserId, old: PasswordHash, new: PasswordHash) -> Result<()> {
        self.lock().replace_password(user, &old, new);
        Ok(())
    }

    async fn change_password(
        &self,
        user: UserId,
        old: PasswordHash,
        new: PasswordHash,
        keep: SessionId,
        _at: DateTime<Utc>,
    ) -> Result<Option<Vec<SessionId>>> {
        let mut tables = self.lock();
        if !tables.replace_password(user, &old, new) {
            return Ok(None);
        }
        tables.resets.remove(&user.0);
        Ok(Some(tables.end_sessions(user, Some(keep))))
    }

    async fn request_reset(&self, email: Email, at: DateTime<Utc>, mail_at: DateTime<Utc>) -> Result<()> {
        self.lock().queue(MailIntent::ResetPassword(email), at, mail_at);
        Ok(())
    }

    async fn reset_password(
        &self,
        token: ResetTokenHash,
        new: PasswordHash,
        at: DateTime<Utc>,
    ) -> Result<Option<(UserId, Vec<SessionId>)>> {
        let mut tables = self.lock();
        let found =
            tables.resets.iter().find(|(_, (_, hash, expires_at))| *hash == token && *expires_at > at);
        let Some((&id, _)) = found else { return Ok(None) };
        tables.resets.remove(&id);
        if let Some(user) = tables.users.get_mut(&id) {
            user.password = new;
        }
        Ok(Some((UserId(id), tables.end_sessions(UserId(id), None))))
    }

    async fn find_profile(&self, id: UserId) -> Result<Option<Profile>> {
        let tables = self.lock();
        let Some(user) = tables.users.get(&id.0) else { return Ok(None) };
        let followers = tables.follows.iter().filter(|((_, followee), _)| *followee == id.0);
        let following = tables.follows.iter().filter(|((follower, _), _)| *follower == id.0);
        let (followers, followers_count) =
            tables.neighbors(followers.map(|((follower, _), id)| (*id, *follower)));
        let (following, following_count) =
            tables.neighbors(following.map(|((_, followee), id)| (*id, *followee)));
        Ok(Some(Profile {
            id,
            username: user.username.clone(),
            email: Email::from_stored(user.email.clone()),
            posts_count: count(tables.posts.values().filter(|post| post.author == id)),
            followers_count,
            following_count,
            followers,
            following,
            created_at: user.created_at,
        }))
    }
}
