use chrono::TimeDelta;
use domain::{
    passwords::PasswordHash,
    sessions::{NewSession, SessionId, SessionView},
    users::UserId,
};
use test_support::{TestDatabase, database_test};

use crate::helpers::{Store, now, open, session, user};

async fn begin(db: &Store, user: UserId, name: &str, session: NewSession) {
    let password = PasswordHash(format!("hash of {name}"));
    assert!(db.sessions.create(user, password, session).await.unwrap());
}

async fn listed(db: &Store, user: UserId, limit: i64) -> Vec<SessionView> {
    db.sessions.list_active(user, now(), now() - TimeDelta::days(7), limit).await.unwrap()
}

fn ids(sessions: &[SessionView]) -> Vec<i64> {
    sessions.iter().map(|session| session.id.0).collect()
}

#[database_test(postgres, sqlite, memory)]
async fn list_contains_the_active_sessions_of_one_user(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let (at, named) = (now(), NewSession { client: Some("a phone".into()), ..session(3) });
    begin(&db, ann, "ann", named.clone()).await;
    begin(&db, ann, "ann", NewSession { at: at - TimeDelta::hours(1), ..session(4) }).await;
    begin(&db, ann, "ann", NewSession { at: at - TimeDelta::days(8), ..session(5) }).await;
    begin(&db, ann, "ann", NewSession { ends_at: at - TimeDelta::seconds(1), ..session(6) }).await;
    begin(&db, ann, "ann", session(7)).await;
    assert!(db.sessions.end(ann, SessionId(7), now()).await.unwrap());
    let sessions = listed(&db, ann, 100).await;
    assert_eq!(ids(&sessions), [3, 1, 4]);
    let SessionView { client, created_at, last_used_at, ends_at, .. } = sessions[0].clone();
    assert_eq!(
        (client, created_at, last_used_at, ends_at),
        (named.client, named.at, named.at, named.ends_at)
    );
    assert_eq!(ids(&listed(&db, ann, 2).await), [3, 1]);
    assert_eq!(ids(&listed(&db, bob, 100).await), [2]);
}

#[database_test(postgres, sqlite, memory)]
async fn session_is_ended_once_and_by_its_user_only(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    assert!(!db.sessions.end(bob, SessionId(1), now()).await.unwrap());
    assert_eq!(ids(&listed(&db, ann, 100).await), [1]);
    assert!(db.sessions.end(ann, SessionId(1), now()).await.unwrap());
    assert!(!db.sessions.end(ann, SessionId(1), now()).await.unwrap());
    assert_eq!(listed(&db, ann, 100).await, []);
}

#[database_test(postgres, sqlite, memory)]
async fn ending_all_other_sessions_returns_their_ids(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    for id in 3..=5 {
        begin(&db, ann, "ann", session(id)).await;
    }
    db.sessions.end(ann, SessionId(5), now()).await.unwrap();
    let mut ended = db.sessions.end_others(ann, SessionId(3), now()).await.unwrap();
    ended.sort_by_key(|id| id.0);
    assert_eq!(ended, [SessionId(1), SessionId(4)]);
    assert_eq!(ids(&listed(&db, ann, 100).await), [3]);
    assert_eq!(ids(&listed(&db, bob, 100).await), [2]);
    assert_eq!(db.sessions.end_others(ann, SessionId(3), now()).await.unwrap(), []);
}

#[database_test(postgres, sqlite, memory)]
async fn retain_active_omits_ended_expired_and_unknown_sessions(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    begin(&db, ann, "ann", session(3)).await;
    begin(&db, ann, "ann", NewSession { ends_at: now(), ..session(4) }).await;
    db.sessions.end(ann, SessionId(3), now()).await.unwrap();
    let ids = [1, 2, 3, 4, 5].map(SessionId).to_vec();
    let mut active = db.sessions.retain_active(ids, now()).await.unwrap();
    active.sort_by_key(|id| id.0);
    assert_eq!(active, [SessionId(1), SessionId(2)]);
    assert_eq!(db.sessions.retain_active(Vec::new(), now()).await.unwrap(), []);
    assert!(db.sessions.end(bob, SessionId(2), now()).await.unwrap());
}

#[database_test]
async fn retain_active_omits_sessions_of_deactivated_users(database: TestDatabase) {
    let db = open(&database).await;
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    assert_ne!(ann, bob);
    database.execute("UPDATE users SET is_active = false WHERE username = 'ann'").await;
    let ids = vec![SessionId(1), SessionId(2)];
    assert_eq!(db.sessions.retain_active(ids, now()).await.unwrap(), [SessionId(2)]);
}
