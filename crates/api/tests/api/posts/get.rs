//! `GET /posts/{post_id}`, and responses to other users about a private post.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::harness::{Response, Server, User};

const NOT_FOUND: (u16, &str) = (404, "Post not found");

async fn everything_on(server: &Server, post: i64, user: Option<&User>) -> Vec<(String, Response)> {
    let comment = json!({"content": "hi"});
    let mut responses = Vec::new();
    for (method, path, body) in [
        (Method::GET, format!("/posts/{post}"), Value::Null),
        (Method::PUT, format!("/posts/{post}"), json!({"content": "changed"})),
        (Method::DELETE, format!("/posts/{post}"), Value::Null),
        (Method::POST, format!("/posts/{post}/like"), Value::Null),
        (Method::DELETE, format!("/posts/{post}/like"), Value::Null),
        (Method::POST, format!("/posts/{post}/comment"), comment.clone()),
        (Method::GET, format!("/posts/{post}/comment"), Value::Null),
        (Method::PUT, format!("/posts/{post}/comment/1"), comment.clone()),
        (Method::DELETE, format!("/posts/{post}/comment/1"), Value::Null),
    ] {
        let mut request = server.request(method.clone(), &path);
        if let Some(user) = user {
            request = request.bearer_auth(&user.access);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        responses.push((format!("{method} {path}"), server.send(request).await));
    }
    responses
}

#[database_test]
async fn private_post_looks_missing_to_others(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = server.create_post(&ann, "secret", true).await;
    server.post(&format!("/posts/{post}/comment"), &ann, json!({"content": "to myself"})).await.ok();
    // Has as many digits, so that even the lengths of the responses are equal.
    let missing = 9;
    for viewer in [Some(&bob), None] {
        let private = everything_on(&server, post, viewer).await;
        let none = everything_on(&server, missing, viewer).await;
        for ((name, private), (_, none)) in private.iter().zip(&none) {
            assert!(private.looks_like(none), "{name}: {private:?} and {none:?}");
        }
    }
    for (_, response) in everything_on(&server, missing, Some(&bob)).await {
        assert_eq!(response.problem(), NOT_FOUND);
    }
    assert_eq!(server.get("/posts/", &bob).await.ok()["posts"], json!([]));
    assert_eq!(server.get(&format!("/posts/?user_id={}", ann.id), &bob).await.ok()["total"], 0);
    assert_eq!(server.get(&format!("/posts/{post}"), &ann).await.ok()["comments_count"], 1);
    assert_eq!(server.get(&format!("/posts/{post}/comment"), &ann).await.ok()["total"], 1);
}
