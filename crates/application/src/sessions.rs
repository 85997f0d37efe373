//! Sessions: the single check of access tokens for REST and Socket.IO, lists, and ends.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
pub use domain::sessions::Caller;
use domain::{
    Error, Result,
    clock::Clock,
    sessions::{
        ActiveSession, SessionAuthenticator, SessionId, SessionObserver, SessionRepository, SessionView,
    },
};
use moka::{Expiry, policy::EvictionPolicy, sync::Cache};

use crate::tokens::{AccessClaims, AccessToken, TokenService};

/// How long a session counts as active without asking the repository again. Without Redis, other processes notice a
/// revocation at most this much later.
const ACTIVE_LIFETIME: Duration = Duration::from_secs(3);

/// How long an ended session is remembered. A session never becomes active again, so this only bounds memory.
const ENDED_LIFETIME: Duration = Duration::from_hours(1);

/// Maximum number of remembered sessions.
const MAX_CACHED_SESSIONS: u64 = 100_000;

/// Maximum length of a list of sessions.
const MAX_LISTED_SESSIONS: i64 = 100;

/// A session in its user's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// The session.
    pub session: SessionView,
    /// When it expires unless it is refreshed before.
    pub expires_at: DateTime<Utc>,
    /// Whether the caller's token belongs to it.
    pub is_current: bool,
}

struct CachedSessionExpiry;

impl Expiry<SessionId, Option<ActiveSession>> for CachedSessionExpiry {
    fn expire_after_create(
        &self,
        _: &SessionId,
        session: &Option<ActiveSession>,
        _: Instant,
    ) -> Option<Duration> {
        Some(if session.is_some() { ACTIVE_LIFETIME } else { ENDED_LIFETIME })
    }

    fn expire_after_update(
        &self,
        id: &SessionId,
        session: &Option<ActiveSession>,
        updated_at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(id, session, updated_at)
    }
}

/// Checks access tokens against their sessions.
#[derive(Clone)]
pub struct SessionService {
    tokens: TokenService,
    repository: Arc<dyn SessionRepository>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn SessionObserver>,
    /// The only memory of which sessions are active and which have ended (`None`). An ended one never becomes active: a
    /// session that was read before its end must not come back after it.
    cache: Cache<SessionId, Option<ActiveSession>>,
}

impl SessionService {
    /// Creates the service. `observer` closes the connections of sessions that end here.
    pub fn new(
        tokens: TokenService,
        repository: Arc<dyn SessionRepository>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn SessionObserver>,
    ) -> Self {
        let cache = Cache::builder()
            .max_capacity(MAX_CACHED_SESSIONS)
            // The default policy may refuse new entries, and so forget an end at once.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(CachedSessionExpiry)
            .build();
        Self { tokens, repository, clock, observer, cache }
    }

    /// Returns the same sessions with the same cache, read from another handle of the database.
    #[must_use]
    pub fn with_repository(&self, repository: Arc<dyn SessionRepository>) -> Self {
        Self { repository, ..self.clone() }
    }

    /// Returns the caller of these claims, or `None` if that needs the repository.
    pub fn authenticate_cached(&self, claims: &AccessClaims) -> Result<Option<Caller>> {
        match self.cache.get(&claims.session) {
            Some(Some(session)) => self.admit(claims, &session).map(Some),
            Some(None) => Err(Error::INVALID_TOKEN),
            None => Ok(None),
        }
    }

    /// Returns the caller of an access token.
    pub async fn authenticate(&self, token: AccessToken<'_>) -> Result<Caller> {
        self.authenticate_claims(self.tokens.verify_access(token)?).await
    }

    /// Returns the caller of these claims.
    pub async fn authenticate_claims(&self, claims: AccessClaims) -> Result<Caller> {
        if let Some(caller) = self.authenticate_cached(&claims)? {
            return Ok(caller);
        }
        let session = self.load(claims.session).await?.ok_or(Error::INVALID_TOKEN)?;
        self.admit(&claims, &session)
    }

    /// Reads a session from the repository and remembers its state. `None` if it has ended, even if only just now.
    async fn load(&self, id: SessionId) -> Result<Option<ActiveSession>> {
        let found = self.repository.find_active(id, self.clock.now()).await?;
        let entry = self.cache.entry(id).and_upsert_with(|cached| match cached {
            Some(cached) if cached.value().is_none() => None,
            _ => found,
        });
        Ok(entry.into_value())
    }

    fn admit(&self, claims: &AccessClaims, session: &ActiveSession) -> Result<Caller> {
        if session.user != claims.user || session.ends_at <= self.clock.now() {
            return Err(Error::INVALID_TOKEN);
        }
        if !session.is_active {
            return Err(Error::INACTIVE_USER);
        }
        if !session.is_verified {
            return Err(Error::NOT_VERIFIED);
        }
        Ok(Caller { user: claims.user, session: claims.session, expires_at: claims.expires_at })
    }

    /// Returns the caller's sessions, the last used first.
    pub async fn list(&self, caller: Caller) -> Result<Vec<ListedSession>> {
        let now = self.clock.now();
        let lifetime = self.tokens.refresh_lifetime;
        let sessions =
            self.repository.list_active(caller.user, now, now - lifetime, MAX_LISTED_SESSIONS).await?;
        let listed = sessions.into_iter().map(|session| ListedSession {
            expires_at: (session.last_used_at + lifetime).min(session.ends_at),
            is_current: session.id == caller.session,
            session,
        });
        Ok(listed.collect())
    }

    /// Ends a session of the caller, possibly the current one.
    pub async fn end(&self, caller: Caller, session: SessionId) -> Result<()> {
        if !self.repository.end(caller.user, session, self.clock.now()).await? {
            return Err(Error::SESSION_NOT_FOUND);
        }
        self.revoke(&[session]);
        Ok(())
    }

    /// Ends all other sessions of the caller, and returns their number.
    pub async fn end_others(&self, caller: Caller) -> Result<usize> {
        let ended = self.repository.end_others(caller.user, caller.session, self.clock.now()).await?;
        self.revoke(&ended);
        Ok(ended.len())
    }

    /// Refuses the tokens of ended sessions and closes their connections, in all processes. Call it after the commit.
    pub fn revoke(&self, ended: &[SessionId]) {
        // First, or a connection that is being opened meanwhile would be authenticated.
        self.mark_ended(ended);
        self.observer.ended(ended);
    }
}

#[async_trait]
impl SessionAuthenticator for SessionService {
    async fn authenticate(&self, access_token: String) -> Result<Caller> {
        let claims = self.tokens.verify_access(AccessToken(&access_token))?;
        if self.has_ended(claims.session) {
            return Err(Error::INVALID_TOKEN);
        }
        // A connection outlives what is remembered, which may have ended in another process.
        let session = self.load(claims.session).await?.ok_or(Error::INVALID_TOKEN)?;
        self.admit(&claims, &session)
    }

    async fn find_ended(&self, mut sessions: Vec<SessionId>) -> Result<Vec<SessionId>> {
        let active = self.repository.retain_active(sessions.clone(), self.clock.now()).await?;
        let active: HashSet<_> = active.into_iter().collect();
        sessions.retain(|session| !active.contains(session));
        for session in sessions.iter().filter(|session| !self.has_ended(**session)) {
            // The next request asks the repository.
            self.cache.invalidate(session);
        }
        Ok(sessions)
    }

    fn has_ended(&self, session: SessionId) -> bool {
        matches!(self.cache.get(&session), Some(None))
    }

    fn mark_ended(&self, sessions: &[SessionId]) {
        for session in sessions {
            self.cache.insert(*session, None);
        }
    }
}

#[cfg(test)]
mod tests;
