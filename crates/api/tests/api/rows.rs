//! Counters and rows: what many do at once, and what goes with what.

use application::random;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::{
    concurrency::crowd,
    helpers::{Answer, Server, User},
};

/// A number below `end`.
fn below(end: usize) -> usize {
    usize::try_from(u32::from_le_bytes(random::bytes().unwrap())).unwrap() % end
}

/// Something that somebody may do to a post or a comment, whether it is there or not.
async fn deed(server: &Server, users: &[User]) -> Answer {
    let (user, other) = (&users[below(users.len())], &users[below(users.len())]);
    // New posts come as fast as others go.
    let post = below(40);
    let id = below(40);
    let (method, path, body) = match below(10) {
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
async fn counters_agree_with_rows_whatever_many_do_at_once(db: TestDatabase) {
    let key = random::token::<32>().unwrap();
    let users = crowd(&db, &key, 12).await;
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    for user in users.iter().cycle().take(20) {
        server.new_post(user, "hi", false).await;
    }
    for _ in 0..10 {
        for answer in join_all((0..50).map(|_| deed(&server, &users))).await {
            assert!([200, 400, 403, 404].contains(&answer.status), "{}", answer.text());
        }
    }
    db.agrees().await;
}

#[database_test]
async fn a_post_takes_all_that_is_on_it_with_it(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (gone, kept) =
        (server.new_post(&ann, "gone", false).await, server.new_post(&ann, "kept", false).await);
    for post in [gone, kept] {
        for user in [&ann, &bob] {
            server.post(&format!("/posts/{post}/like"), user, json!(null)).await.ok();
            server.post(&format!("/posts/{post}/comment"), user, json!({"content": "x"})).await.ok();
        }
    }
    server.put("/notifications/read-all", &ann, json!(null)).await.ok();
    server.post(&format!("/posts/{gone}/comment"), &bob, json!({"content": "unread"})).await.ok();
    assert_eq!(server.get("/notifications/", &ann).await.ok()["unread_count"], 1);
    server.delete(&format!("/posts/{gone}"), &ann).await.ok();
    for table in ["likes", "comments", "notifications"] {
        let of = async |post: i64| {
            db.number(&format!("SELECT count(*) FROM {table} WHERE post_id = {post}")).await
        };
        assert_eq!((of(gone).await, of(kept).await), (0, 2), "{table}");
    }
    let told = server.get("/notifications/", &ann).await.ok();
    assert_eq!((&told["total"], &told["unread_count"]), (&json!(2), &json!(0)));
    assert_eq!(server.get("/users/me", &ann).await.ok()["posts_count"], 1);
    db.agrees().await;
}

#[database_test]
async fn what_becomes_private_hides_what_is_on_it_and_keeps_it(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let path = format!("/posts/{}", server.new_post(&ann, "hi", false).await);
    server.post(&format!("{path}/like"), &bob, json!(null)).await.ok();
    let comment =
        server.post(&format!("{path}/comment"), &bob, json!({"content": "x"})).await.ok()["id"].clone();
    server.put(&path, &ann, json!({"is_private": true})).await.ok();
    let not_found = (404, "Post not found");
    // Bob's own like and comment too are out of his reach now.
    assert_eq!(server.delete(&format!("{path}/like"), &bob).await.problem(), not_found);
    assert_eq!(server.delete(&format!("{path}/comment/{comment}"), &bob).await.problem(), not_found);
    assert_eq!(server.get(&format!("{path}/comment"), &bob).await.problem(), not_found);
    assert_eq!(server.get(&format!("{path}/comment"), None).await.problem(), not_found);
    let seen = server.get(&path, &ann).await.ok();
    assert_eq!((&seen["likes_count"], &seen["comments_count"]), (&json!(1), &json!(1)));
    db.agrees().await;
    server.put(&path, &ann, json!({"is_private": "no"})).await.ok();
    assert_eq!(server.get(&path, &bob).await.ok()["liked_by_me"], true);
    db.agrees().await;
}
