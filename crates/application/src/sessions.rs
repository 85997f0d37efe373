//! Who is calling: the one check that every route and the socket go through.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use domain::{
    Error, Result,
    clock::Clock,
    sessions::{ActiveSession, SessionId, SessionObserver, SessionRepository, SessionView},
    users::UserId,
};
use moka::sync::Cache;

use crate::tokens::{AccessClaims, AccessToken, TokenService};

/// For how long a session is believed to live without asking the database again. Another process notices a
/// revocation at most this much later.
const TRUSTED: Duration = Duration::from_secs(3);

/// How many sessions a list has at most.
const LISTED: i64 = 100;

/// A session in its user's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// The session.
    pub session: SessionView,
    /// When it ends unless it is refreshed before.
    pub expires_at: DateTime<Utc>,
    /// Whether it is the one by which the list was asked for.
    pub is_current: bool,
}

/// A verified and active user with a live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub user: UserId,
    /// By which session.
    pub session: SessionId,
    /// When the token expires.
    pub expires_at: DateTime<Utc>,
}

/// Checks access tokens against their sessions.
#[derive(Clone)]
pub struct SessionService {
    tokens: TokenService,
    repository: Arc<dyn SessionRepository>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn SessionObserver>,
    cache: Cache<SessionId, ActiveSession>,
    /// How many revocations there were. Held while one happens, and while what was read is cached: so nothing that
    /// was read before a revocation is cached after it.
    revocations: Arc<Mutex<u64>>,
}

impl SessionService {
    /// Sessions of this repository, whose ends `observer` hears of.
    pub fn new(
        tokens: TokenService,
        repository: Arc<dyn SessionRepository>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn SessionObserver>,
    ) -> Self {
        let cache = Cache::builder().max_capacity(100_000).time_to_live(TRUSTED).build();
        Self { tokens, repository, clock, observer, cache, revocations: Arc::default() }
    }

    /// Returns the same sessions with the same cache, read from another handle of the database.
    #[must_use]
    pub fn with_repository(&self, repository: Arc<dyn SessionRepository>) -> Self {
        Self { repository, ..self.clone() }
    }

    /// The caller whose claims these are, if nobody has to ask the database; `Ok(None)` if somebody must.
    pub fn authenticate_cached(&self, claims: &AccessClaims) -> Result<Option<Caller>> {
        self.cache.get(&claims.session).map(|session| self.admit(claims, &session)).transpose()
    }

    /// The caller whose token this is.
    pub async fn authenticate(&self, token: AccessToken<'_>) -> Result<Caller> {
        self.authenticate_claims(self.tokens.verify_access(token)?).await
    }

    /// The caller whose claims these are.
    pub async fn authenticate_claims(&self, claims: AccessClaims) -> Result<Caller> {
        if let Some(session) = self.cache.get(&claims.session) {
            return self.admit(&claims, &session);
        }
        let before = *self.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.repository.find_active(claims.session, self.clock.now()).await?;
        let session = session.ok_or(Error::INVALID_TOKEN)?;
        {
            let revocations = self.revocations.lock().unwrap_or_else(PoisonError::into_inner);
            if *revocations == before {
                self.cache.insert(claims.session, session.clone());
            }
        }
        self.admit(&claims, &session)
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

    /// Whether a session lives, asked of the database.
    pub async fn is_live(&self, session: SessionId) -> Result<bool> {
        let found = self.repository.find_active(session, self.clock.now()).await?;
        Ok(found.is_some_and(|session| session.is_active && session.is_verified))
    }

    /// The caller's sessions, those first that were used last.
    pub async fn list(&self, caller: Caller) -> Result<Vec<ListedSession>> {
        let now = self.clock.now();
        let used_since = self.tokens.refresh_cutoff(now);
        let sessions = self.repository.list_active(caller.user, now, used_since, LISTED).await?;
        let listed = sessions.into_iter().map(|session| ListedSession {
            expires_at: self.tokens.refresh_expiry(session.last_used_at, session.ends_at),
            is_current: session.id == caller.session,
            session,
        });
        Ok(listed.collect())
    }

    /// Ends a session of the caller, which may be the one by which they call.
    pub async fn end(&self, caller: Caller, session: SessionId) -> Result<()> {
        if !self.repository.end(caller.user, session, self.clock.now()).await? {
            return Err(Error::SESSION_NOT_FOUND);
        }
        self.revoke(&[session]);
        Ok(())
    }

    /// Ends all sessions of the caller but the one by which they call; how many lived.
    pub async fn end_others(&self, caller: Caller) -> Result<usize> {
        let ended = self.repository.end_others(caller.user, caller.session, self.clock.now()).await?;
        self.revoke(&ended);
        Ok(ended.len())
    }

    /// Forgets sessions that have been ended, and ends their connections. To be called once the end is committed.
    pub fn revoke(&self, ended: &[SessionId]) {
        self.evict(ended);
        // Not before: a connection that is being made meanwhile must not find them cached.
        self.observer.ended(ended);
    }

    /// Forgets sessions that another process has ended.
    pub fn evict(&self, ended: &[SessionId]) {
        let mut revocations = self.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        *revocations += 1;
        for session in ended {
            self.cache.invalidate(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::{
        clock::SystemClock,
        sessions::{MockSessionObserver, MockSessionRepository, RefreshId},
    };

    use super::*;

    fn tokens() -> TokenService {
        TokenService::new(b"a key for tests", TimeDelta::minutes(30), TimeDelta::days(7))
    }

    fn token(user: i64) -> String {
        let now = Utc::now();
        let ends_at = now + TimeDelta::days(30);
        let refresh = RefreshId("x".into());
        tokens().issue_pair(UserId(user), SessionId(9), &refresh, now, now, ends_at).unwrap().access
    }

    fn live() -> ActiveSession {
        let ends_at = Utc::now() + TimeDelta::days(30);
        ActiveSession { user: UserId(7), is_active: true, is_verified: true, ends_at }
    }

    fn sessions(repository: MockSessionRepository) -> SessionService {
        let mut observer = MockSessionObserver::new();
        observer.expect_ended().returning(|_| ());
        SessionService::new(tokens(), Arc::new(repository), Arc::new(SystemClock), Arc::new(observer))
    }

    #[tokio::test]
    async fn the_database_is_asked_once_in_a_few_seconds() {
        let mut repository = MockSessionRepository::new();
        repository.expect_find_active().once().returning(|_, _| Ok(Some(live())));
        let sessions = sessions(repository);
        let claims = tokens().verify_access(AccessToken(&token(7))).unwrap();
        assert_eq!(sessions.authenticate_cached(&claims).unwrap(), None);
        for _ in 0..3 {
            let caller = sessions.authenticate(AccessToken(&token(7))).await.unwrap();
            assert_eq!((caller.user, caller.session), (UserId(7), SessionId(9)));
        }
        assert!(sessions.authenticate_cached(&claims).unwrap().is_some());
    }

    #[tokio::test]
    async fn an_ended_session_is_forgotten_at_once() {
        let mut repository = MockSessionRepository::new();
        let mut answers = vec![None, Some(live())];
        repository.expect_find_active().times(2).returning(move |_, _| Ok(answers.pop().flatten()));
        let sessions = sessions(repository);
        sessions.authenticate(AccessToken(&token(7))).await.unwrap();
        sessions.revoke(&[SessionId(9)]);
        assert_eq!(sessions.authenticate(AccessToken(&token(7))).await, Err(Error::INVALID_TOKEN));
    }

    #[tokio::test]
    async fn a_session_of_somebody_else_opens_nothing() {
        let mut repository = MockSessionRepository::new();
        repository.expect_find_active().returning(|_, _| Ok(Some(live())));
        assert_eq!(
            sessions(repository).authenticate(AccessToken(&token(8))).await,
            Err(Error::INVALID_TOKEN)
        );
    }

    #[tokio::test]
    async fn who_is_deactivated_or_not_verified_is_told_so() {
        for (is_active, is_verified, error) in
            [(false, true, Error::INACTIVE_USER), (true, false, Error::NOT_VERIFIED)]
        {
            let mut repository = MockSessionRepository::new();
            repository
                .expect_find_active()
                .returning(move |_, _| Ok(Some(ActiveSession { is_active, is_verified, ..live() })));
            assert_eq!(sessions(repository).authenticate(AccessToken(&token(7))).await, Err(error));
        }
    }

    fn caller() -> Caller {
        Caller { user: UserId(7), session: SessionId(9), expires_at: Utc::now() }
    }

    #[tokio::test]
    async fn a_listed_session_says_whether_it_is_the_callers_and_when_it_expires() {
        let now = Utc::now();
        let view = |id, used, ends| SessionView {
            id: SessionId(id),
            client: None,
            created_at: now,
            last_used_at: now + used,
            ends_at: now + ends,
        };
        let stored = vec![
            view(9, TimeDelta::zero(), TimeDelta::days(30)),
            view(8, TimeDelta::days(-1), TimeDelta::days(2)),
        ];
        let mut repository = MockSessionRepository::new();
        repository
            .expect_list_active()
            .withf(|user, at, used_since, _| *user == UserId(7) && *used_since == *at - TimeDelta::days(7))
            .return_once(move |_, _, _, _| Ok(stored));
        let listed = sessions(repository).list(caller()).await.unwrap();
        let seen: Vec<_> = listed.iter().map(|one| (one.is_current, one.expires_at - now)).collect();
        assert_eq!(seen, [(true, TimeDelta::days(7)), (false, TimeDelta::days(2))]);
    }

    #[tokio::test]
    async fn what_is_ended_is_forgotten_and_its_connections_close() {
        let mut repository = MockSessionRepository::new();
        repository.expect_end().times(2).returning(|_, id, _| Ok(id == SessionId(8)));
        repository.expect_end_others().return_once(|_, _, _| Ok(vec![SessionId(5), SessionId(6)]));
        let mut observer = MockSessionObserver::new();
        observer.expect_ended().withf(|ended| ended == [SessionId(8)]).once().return_const(());
        observer.expect_ended().withf(|ended| ended == [SessionId(5), SessionId(6)]).once().return_const(());
        let sessions =
            SessionService::new(tokens(), Arc::new(repository), Arc::new(SystemClock), Arc::new(observer));
        sessions.end(caller(), SessionId(8)).await.unwrap();
        assert_eq!(sessions.end(caller(), SessionId(4)).await, Err(Error::SESSION_NOT_FOUND));
        assert_eq!(sessions.end_others(caller()).await.unwrap(), 2);
    }
}
