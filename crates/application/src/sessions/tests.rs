use std::sync::OnceLock;

use chrono::TimeDelta;
use domain::{
    clock::SystemClock,
    sessions::{MockSessionObserver, MockSessionRepository, RefreshId},
    users::UserId,
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
async fn authenticate_reads_the_repository_once_within_seconds() {
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
async fn revoked_session_is_refused_immediately() {
    let mut repository = MockSessionRepository::new();
    repository.expect_find_active().once().returning(|_, _| Ok(Some(live())));
    let sessions = sessions(repository);
    sessions.authenticate(AccessToken(&token(7))).await.unwrap();
    sessions.revoke(&[SessionId(9)]);
    assert_eq!(sessions.authenticate(AccessToken(&token(7))).await, Err(Error::INVALID_TOKEN));
}

/// Ends the session while the repository is being read.
struct EndsMeanwhile(OnceLock<SessionService>);

#[tokio::test]
async fn session_that_ends_while_it_is_read_is_refused() {
    let service = Arc::new(EndsMeanwhile(OnceLock::new()));
    let ending = service.clone();
    let mut repository = MockSessionRepository::new();
    repository.expect_find_active().once().returning(move |_, _| {
        ending.0.get().unwrap().revoke(&[SessionId(9)]);
        Ok(Some(live()))
    });
    let sessions = sessions(repository);
    service.0.set(sessions.clone()).ok().unwrap();
    for _ in 0..2 {
        assert_eq!(sessions.authenticate(AccessToken(&token(7))).await, Err(Error::INVALID_TOKEN));
    }
}

#[tokio::test]
async fn unknown_session_is_remembered_as_ended() {
    let mut repository = MockSessionRepository::new();
    repository.expect_find_active().once().returning(|_, _| Ok(None));
    let sessions = sessions(repository);
    assert!(!sessions.has_ended(SessionId(9)));
    for _ in 0..2 {
        assert_eq!(sessions.authenticate(AccessToken(&token(7))).await, Err(Error::INVALID_TOKEN));
    }
    assert!(sessions.has_ended(SessionId(9)));
}

#[tokio::test]
async fn connections_are_authenticated_by_the_repository_and_checked_by_one_query() {
    let mut repository = MockSessionRepository::new();
    repository.expect_find_active().once().returning(|_, _| Ok(Some(live())));
    repository.expect_find_active().once().returning(|_, _| Ok(None));
    repository
        .expect_retain_active()
        .once()
        .withf(|ids, _| *ids == [SessionId(7), SessionId(8), SessionId(9)])
        .returning(|_, _| Ok(vec![SessionId(8)]));
    let sessions = sessions(repository);
    let connect = || SessionAuthenticator::authenticate(&sessions, token(7));
    assert_eq!(connect().await.unwrap().session, SessionId(9));
    // Another process has ended it since.
    for _ in 0..2 {
        assert_eq!(connect().await, Err(Error::INVALID_TOKEN));
    }
    let ended = sessions.find_ended(vec![SessionId(7), SessionId(8), SessionId(9)]).await.unwrap();
    assert_eq!(ended, [SessionId(7), SessionId(9)]);
    assert!(sessions.has_ended(SessionId(9)));
}

#[tokio::test]
async fn session_that_is_found_to_have_ended_is_not_remembered_as_active() {
    let mut repository = MockSessionRepository::new();
    repository.expect_find_active().once().returning(|_, _| Ok(Some(live())));
    repository.expect_retain_active().once().returning(|_, _| Ok(Vec::new()));
    repository.expect_find_active().once().returning(|_, _| Ok(None));
    let sessions = sessions(repository);
    sessions.authenticate(AccessToken(&token(7))).await.unwrap();
    assert_eq!(sessions.find_ended(vec![SessionId(9)]).await.unwrap(), [SessionId(9)]);
    assert_eq!(sessions.authenticate(AccessToken(&token(7))).await, Err(Error::INVALID_TOKEN));
}

#[tokio::test]
async fn session_that_another_process_ended_is_refused_and_not_announced_again() {
    let mut observer = MockSessionObserver::new();
    observer.expect_ended().never();
    let clock = Arc::new(SystemClock);
    let repository = Arc::new(MockSessionRepository::new());
    let sessions = SessionService::new(tokens(), repository, clock, Arc::new(observer));
    sessions.mark_ended(&[SessionId(9)]);
    assert_eq!(sessions.authenticate(AccessToken(&token(7))).await, Err(Error::INVALID_TOKEN));
}

#[tokio::test]
async fn session_of_another_user_is_refused() {
    let mut repository = MockSessionRepository::new();
    repository.expect_find_active().returning(|_, _| Ok(Some(live())));
    assert_eq!(sessions(repository).authenticate(AccessToken(&token(8))).await, Err(Error::INVALID_TOKEN));
}

#[tokio::test]
async fn deactivated_and_unverified_users_get_their_own_errors() {
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
async fn list_marks_the_current_session_and_computes_expiry() {
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
async fn end_closes_the_connections_of_the_ended_sessions() {
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
