//! Many users at once.

use std::time::Duration;

use application::tokens::TokenService;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    accounts::{Activation, CodeHash, NewRegistration, RegistrationHandle, SentCode},
    outbox::MailIntent,
    passwords::PasswordHash,
    sessions::{NewSession, RefreshId, SessionId},
    users::{Email, UserId, Username},
};
use test_support::TestDatabase;

use super::User;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap()
}

/// Creates users through the repositories, without mails and password hashes, with tokens signed by `key`.
pub(crate) async fn create_users(db: &TestDatabase, key: &str, count: i64) -> Vec<User> {
    let url = infra_diesel::DatabaseUrl::parse(db.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let timeout = Duration::from_secs(20);
    let config = infra_diesel::DatabaseConfig { url, replica: None, connections: 4, workers: 0, timeout };
    let repositories = infra_diesel::connect(&config).await.unwrap();
    let tokens = TokenService::new(key.as_bytes(), TimeDelta::minutes(30), TimeDelta::days(7));
    let mut users = Vec::new();
    for n in 1..=count {
        let (name, at) = (format!("user{n}"), now());
        let email = Email::parse(&format!("{name}@example.com")).unwrap();
        let registration = NewRegistration {
            username: Username::parse(&name).unwrap(),
            email: email.clone(),
            password: PasswordHash("none".into()),
            handle: RegistrationHandle::parse(&format!("{name:-<22}")).unwrap(),
            at,
            mail_at: at,
            name_reserved_until: at + TimeDelta::minutes(10),
            notify_owner: false,
        };
        repositories.accounts.register(registration).await.unwrap();
        let mails = repositories.outbox.claim(now(), now() + TimeDelta::minutes(1), 10).await.unwrap();
        let MailIntent::VerifyEmail(registration) = mails[0].intent else {
            panic!("not a verification mail")
        };
        repositories.outbox.ack(mails[0].id).await.unwrap();
        let (hash, expires_at) = (CodeHash(vec![1]), at + TimeDelta::minutes(10));
        repositories.outbox.issue_code(registration, hash.clone(), expires_at).await.unwrap();
        let (id, refresh, ends_at) = (SessionId(n), RefreshId(name.clone()), at + TimeDelta::days(1));
        let session = NewSession { id, refresh: refresh.clone(), at, ends_at, client: None };
        let code = SentCode { registration, hash, expires_at };
        let Activation::LoggedIn(UserId(user)) =
            repositories.accounts.activate(code, session, None).await.unwrap()
        else {
            panic!("the code is valid")
        };
        let pair = tokens.issue_pair(UserId(user), id, &refresh, at, at, ends_at).unwrap();
        users.push(User {
            id: user,
            name,
            email: email.as_str().into(),
            access: pair.access,
            refresh: pair.refresh,
        });
    }
    users
}
