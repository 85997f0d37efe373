//! A migrated database with some users.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use domain::{
    accounts::{Activation, CodeHash, NewRegistration, PasswordHash, RegistrationOutcome, SentCode},
    outbox::MailIntent,
    page::{PageNumber, PageRequest, PageSize, PageStart},
    posts::{NewPost, PostContent, PostView},
    sessions::{NewSession, RefreshId, SessionId},
    users::{Email, UserId, Username},
};
use infra_diesel::{Database, DatabaseConfig, DatabaseUrl};
use test_support::TestDatabase;

pub(crate) async fn open(db: &TestDatabase) -> Database {
    let url = DatabaseUrl::parse(db.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let config =
        DatabaseConfig { url, replica: None, connections: 8, workers: 0, timeout: Duration::from_secs(20) };
    infra_diesel::connect(&config).await.unwrap()
}

pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

pub(crate) fn email(name: &str) -> Email {
    Email::parse(&format!("{name}@example.com")).unwrap()
}

pub(crate) fn registration(name: &str, email: Email) -> NewRegistration {
    let at = now();
    NewRegistration {
        username: Username::parse(name).unwrap(),
        email,
        password: PasswordHash(format!("hash of {name}")),
        at,
        mail_at: at,
        name_reserved_until: at + TimeDelta::minutes(10),
        notify_owner: false,
    }
}

pub(crate) fn session(id: i64) -> NewSession {
    let at = now();
    NewSession {
        id: SessionId(id),
        refresh: RefreshId(format!("first of {id}")),
        at,
        ends_at: at + TimeDelta::days(30),
        client: None,
    }
}

/// Sends the codes that are owed: each is the registration's id, so that a test knows it.
pub(crate) async fn send_codes(db: &Database, valid: TimeDelta) -> Vec<SentCode> {
    let mut sent = Vec::new();
    for mail in db.outbox.claim(now(), now() + TimeDelta::minutes(1), 50).await.unwrap() {
        if let MailIntent::VerifyEmail(registration) = mail.intent {
            let hash = CodeHash(registration.0.to_le_bytes().to_vec());
            let expires_at = now() + valid;
            if db.outbox.issue_code(registration, hash.clone(), expires_at).await.unwrap().is_some() {
                sent.push(SentCode { registration, hash, expires_at });
            }
        }
        db.outbox.ack(mail.id).await.unwrap();
    }
    sent
}

/// A verified user; their first session has the id `session_id`.
pub(crate) async fn user(db: &Database, name: &str, session_id: i64) -> UserId {
    let registered = db.accounts.register(registration(name, email(name))).await.unwrap();
    assert_eq!(registered, RegistrationOutcome::Pending);
    let code = send_codes(db, TimeDelta::minutes(10)).await.pop().unwrap();
    match db.accounts.activate(code, session(session_id)).await.unwrap() {
        Activation::LoggedIn(user) => user,
        other => panic!("{name} is {other:?}"),
    }
}

pub(crate) async fn post(db: &Database, author: UserId, text: &str, is_private: bool) -> PostView {
    let content = PostContent::parse(text).unwrap();
    db.posts.insert(NewPost { author, content, media: None, is_private, at: now() }).await.unwrap()
}

pub(crate) fn page(number: i64, size: i64) -> PageRequest {
    PageRequest {
        start: PageStart::Page(PageNumber::parse(number).unwrap()),
        size: PageSize::parse(size).unwrap(),
    }
}

pub(crate) fn after(position: Option<domain::page::Position>, size: i64) -> PageRequest {
    PageRequest { start: PageStart::After(position.unwrap()), size: PageSize::parse(size).unwrap() }
}
