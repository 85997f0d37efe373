use std::time::Duration;

use application::{random, tokens::TokenService};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    accounts::{Activation, CodeHash, NewRegistration, PasswordHash, SentCode},
    outbox::MailIntent,
    sessions::{NewSession, RefreshId, SessionId},
    users::{Email, UserId, Username},
};
use futures_util::future::join_all;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::helpers::{Server, User};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap()
}

/// Many users at once, past mails and hashes: made by the repositories, with tokens signed by the server's key.
pub(crate) async fn crowd(db: &TestDatabase, key: &str, size: i64) -> Vec<User> {
    let url = infra_diesel::DatabaseUrl::parse(db.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let timeout = Duration::from_secs(20);
    let config = infra_diesel::DatabaseConfig { url, replica: None, connections: 4, workers: 0, timeout };
    let repositories = infra_diesel::connect(&config).await.unwrap();
    let tokens = TokenService::new(key.as_bytes(), TimeDelta::minutes(30), TimeDelta::days(7));
    let mut users = Vec::new();
    for n in 1..=size {
        let (name, at) = (format!("user{n}"), now());
        let email = Email::parse(&format!("{name}@example.com")).unwrap();
        let registration = NewRegistration {
            username: Username::parse(&name).unwrap(),
            email: email.clone(),
            password: PasswordHash("none".into()),
            at,
            mail_at: at,
            name_reserved_until: at + TimeDelta::minutes(10),
            notify_owner: false,
        };
        repositories.accounts.register(registration).await.unwrap();
        let owed = repositories.outbox.claim(now(), now() + TimeDelta::minutes(1), 10).await.unwrap();
        let MailIntent::VerifyEmail(registration) = owed[0].intent else { panic!("a verification is owed") };
        repositories.outbox.ack(owed[0].id).await.unwrap();
        let (hash, expires_at) = (CodeHash(vec![1]), at + TimeDelta::minutes(10));
        repositories.outbox.issue_code(registration, hash.clone(), expires_at).await.unwrap();
        let (id, refresh, ends_at) = (SessionId(n), RefreshId(name.clone()), at + TimeDelta::days(1));
        let session = NewSession { id, refresh: refresh.clone(), at, ends_at, client: None };
        let code = SentCode { registration, hash, expires_at };
        let Activation::LoggedIn(UserId(user)) = repositories.accounts.activate(code, session).await.unwrap()
        else {
            panic!("the code is right")
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

#[database_test]
async fn likes_of_many_at_once_all_count_and_of_equal_ones_one(db: TestDatabase) {
    let key = random::token::<32>().unwrap();
    let users = crowd(&db, &key, 200).await;
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    let post = server.new_post(&users[0], "hi", false).await;
    let path = format!("/posts/{post}/like");
    let answers = join_all(users.iter().map(|user| server.post(&path, user, json!(null)))).await;
    let mut counts: Vec<i64> =
        answers.into_iter().map(|answer| answer.ok()["likes_count"].as_i64().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=200).collect::<Vec<i64>>());
    let other = server.new_post(&users[0], "again", false).await;
    let path = format!("/posts/{other}/like");
    let answers = join_all((0..50).map(|_| server.post(&path, &users[1], json!(null)))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| [(200, ""), (400, "You already liked this post")].contains(&answer.problem()))
    );
    for (post, likes) in [(post, 200), (other, 1)] {
        assert_eq!(server.get(&format!("/posts/{post}"), &users[0]).await.ok()["likes_count"], likes);
    }
    // One's own like is not told.
    let told = server.get("/notifications/", &users[0]).await.ok();
    assert_eq!((&told["total"], &told["unread_count"]), (&json!(200), &json!(200)));
    db.agrees().await;
}

#[database_test]
async fn requests_that_their_clients_give_up_leave_data_and_pools_sound(db: TestDatabase) {
    let key = random::token::<32>().unwrap();
    let users = crowd(&db, &key, 60).await;
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    let mut posts = Vec::new();
    for n in 0..5 {
        posts.push(server.new_post(&users[0], &format!("post {n}"), false).await);
    }
    let cut = posts.iter().flat_map(|post| users.iter().map(move |user| (*post, user))).map(
        async |(post, user)| {
            let wait = u64::from_le_bytes(random::bytes().unwrap()) % 12_000;
            let path = format!("/posts/{post}/like");
            let request = server.post(&path, user, json!(null));
            tokio::time::timeout(Duration::from_micros(wait), request).await.is_err()
        },
    );
    let cut = join_all(cut).await.into_iter().filter(|cut| *cut).count();
    assert!(cut > 50, "only {cut} of 300 were cut");
    // What the server has not read yet of requests that were given up may begin late.
    let mut before = -1;
    while before != db.number("SELECT count(*) FROM likes").await {
        before = db.number("SELECT count(*) FROM likes").await;
        server.get("/livez", None).await;
        server.app.wait_for_use_cases().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut likes = 0;
    for post in posts {
        let path = format!("/posts/{post}");
        let liked = join_all(users.iter().map(|user| server.get(&path, user))).await;
        let liked: Vec<_> = liked.into_iter().map(crate::helpers::Answer::ok).collect();
        let rows = liked.iter().filter(|seen| seen["liked_by_me"] == true).count();
        assert_eq!(liked[0]["likes_count"], rows);
        likes += rows - usize::from(liked[0]["liked_by_me"] == true);
    }
    let told = server.get("/notifications/", &users[0]).await.ok();
    assert_eq!(told["total"], likes);
    db.agrees().await;
}
