//! Counters and rows under concurrent actions, and with clients that disconnect.

use std::time::Duration;

use application::random;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{Response, Server, User, create_users};

/// Returns a random number below `end`.
fn random_below(end: usize) -> usize {
    usize::try_from(u32::from_le_bytes(random::bytes().unwrap())).unwrap() % end
}

/// Performs a random action of a random user on a post or comment that may not exist.
async fn random_action(server: &Server, users: &[User]) -> Response {
    let (user, other) = (&users[random_below(users.len())], &users[random_below(users.len())]);
    // Posts are created as fast as others are deleted.
    let post = random_below(40);
    let id = random_below(40);
    let (method, path, body) = match random_below(10) {
        0..=2 => (Method::POST, format!("/posts/{post}/like"), json!(null)),
        3 => (Method::DELETE, format!("/posts/{post}/like"), json!(null)),
        4 => (Method::POST, format!("/posts/{post}/comment"), json!({"content": "x"})),
        5 => (Method::DELETE, format!("/posts/{post}/comment/{id}"), json!(null)),
        6 => (Method::POST, format!("/users/{}/follow", other.id), json!(null)),
        7 => (Method::DELETE, format!("/users/{}/unfollow", other.id), json!(null)),
        8 => (Method::PUT, format!("/posts/{post}"), json!({"is_private": id.is_multiple_of(2)})),
        _ if id < 8 => (Method::DELETE, format!("/posts/{post}"), json!(null)),
        _ if id < 20 => (Method::PUT, "/notifications/read-all".to_owned(), json!(null)),
        _ => {
            (Method::POST, "/posts/".to_owned(), json!({"content": "x", "is_private": id.is_multiple_of(2)}))
        }
    };
    let request = server.request(method, &path).bearer_auth(&user.access);
    server.send(if body.is_null() { request } else { request.json(&body) }).await
}

#[database_test]
async fn concurrent_actions_keep_counters_equal_to_rows(db: TestDatabase) {
    let key = random::token::<32>().unwrap();
    let users = create_users(&db, &key, 12).await;
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    for user in users.iter().cycle().take(20) {
        server.create_post(user, "hi", false).await;
    }
    for _ in 0..10 {
        for response in join_all((0..50).map(|_| random_action(&server, &users))).await {
            assert!([200, 400, 403, 404].contains(&response.status), "{}", response.text());
        }
    }
    db.agrees().await;
}

#[database_test]
async fn cancelled_requests_leave_data_and_pools_consistent(db: TestDatabase) {
    let key = random::token::<32>().unwrap();
    let users = create_users(&db, &key, 60).await;
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    let mut posts = Vec::new();
    for n in 0..5 {
        posts.push(server.create_post(&users[0], &format!("post {n}"), false).await);
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
    // Cancelled requests that the server has not read yet may still start.
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
        let liked: Vec<_> = liked.into_iter().map(Response::ok).collect();
        let rows = liked.iter().filter(|seen| seen["liked_by_me"] == true).count();
        assert_eq!(liked[0]["likes_count"], rows);
        likes += rows - usize::from(liked[0]["liked_by_me"] == true);
    }
    let notifications = server.get("/notifications/", &users[0]).await.ok();
    assert_eq!(notifications["total"], likes);
    db.agrees().await;
}
