use reqwest::{Method, multipart::Form};
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::helpers::{Answer, Server, User};

const NOT_FOUND: (u16, &str) = (404, "Post not found");

/// What an answer says, without what differs from answer to answer.
fn said(answer: &Answer) -> (u16, Value, Option<String>, Option<String>) {
    let mut body = answer.json.clone();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    (answer.status, body, answer.header("content-type"), answer.header("content-length"))
}

async fn everything_on(server: &Server, post: i64, user: Option<&User>) -> Vec<(String, Answer)> {
    let comment = json!({"content": "hi"});
    let mut answers = Vec::new();
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
        answers.push((format!("{method} {path}"), server.send(request).await));
    }
    answers
}

#[database_test]
async fn a_post_comes_as_multipart_as_a_form_or_as_json(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let request = || server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
    let form =
        Form::new().text("content", "two\r\nlines").text("is_private", "YES").text("is_verified", "true");
    let post = server.send(request().multipart(form)).await.ok();
    for (key, value) in [
        ("user_id", json!(ann.id)),
        ("author_username", json!("ann")),
        ("content", json!("two\nlines")),
        ("media_url", json!(null)),
        ("is_private", json!(true)),
        ("likes_count", json!(0)),
        ("comments_count", json!(0)),
        ("liked_by_me", json!(false)),
        ("updated_at", json!(null)),
    ] {
        assert_eq!(post[key], value, "{key}");
    }
    let at = post["created_at"].as_str().unwrap();
    assert!(at.len() == 27 && at.ends_with('Z'), "{at}");
    let post = server.send(request().form(&[("content", "by form"), ("is_private", "off")])).await.ok();
    assert_eq!((&post["content"], &post["is_private"]), (&json!("by form"), &json!(false)));
    let post = server.send(request().json(&json!({"content": "by json", "is_private": true}))).await.ok();
    assert_eq!(post["is_private"], true);
    assert_eq!(server.get(&format!("/posts/{}", post["id"]), &ann).await.ok(), post);
    assert_eq!(server.get("/users/me", &ann).await.ok()["posts_count"], 3);
}

#[database_test]
async fn a_post_of_nothing_and_one_too_long_are_refused(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let empty = (400, "Post must have either content or media");
    for body in [json!({}), json!({"content": " \r\n\t"}), json!({"content": null, "is_private": true})] {
        assert_eq!(server.post("/posts/", &ann, body).await.problem(), empty);
    }
    let file = reqwest::multipart::Part::bytes(Vec::new()).file_name("empty.png");
    let form = Form::new().text("content", " ").part("media", file);
    let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access).multipart(form);
    assert_eq!(server.send(request).await.problem(), empty);
    assert_eq!(server.post("/posts/", &ann, json!({"content": "ß".repeat(5000)})).await.status, 200);
    for (body, kind) in [
        (json!({"content": "x".repeat(5001)}), "string_too_long"),
        (json!({"content": 1}), "string_type"),
        (json!({"content": "x", "is_private": "maybe"}), "bool_parsing"),
        (json!({"content": "a\u{0}b"}), "value_error"),
    ] {
        let answer = server.post("/posts/", &ann, body).await;
        assert_eq!((answer.status, answer.json["errors"][0]["type"].as_str()), (422, Some(kind)));
    }
    assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 1);
}

#[database_test]
async fn its_author_changes_a_post_and_what_is_not_named_stays(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let path = format!("/posts/{}", server.new_post(&ann, "hi", false).await);
    for nothing in [json!({}), json!({"content": "", "is_private": ""})] {
        assert_eq!(server.put(&path, &ann, nothing).await.ok()["updated_at"], json!(null));
    }
    let changed = server.put(&path, &ann, json!({"content": "hello"})).await.ok();
    assert_eq!((&changed["content"], &changed["is_private"]), (&json!("hello"), &json!(false)));
    assert!(changed["updated_at"].is_string());
    let form = Form::new().text("is_private", "1");
    let request = server.request(Method::PUT, &path).bearer_auth(&ann.access).multipart(form);
    let changed = server.send(request).await.ok();
    assert_eq!((&changed["content"], &changed["is_private"]), (&json!("hello"), &json!(true)));
    server.put(&path, &ann, json!({"is_private": false})).await.ok();
    let (update, delete) = ("You can only update your own posts", "You can only delete your own posts");
    assert_eq!(server.put(&path, &bob, json!({"content": "mine"})).await.problem(), (403, update));
    assert_eq!(server.delete(&path, &bob).await.problem(), (403, delete));
    let gone = server.delete(&path, &ann).await.ok();
    assert_eq!(gone, json!({"success": true, "message": "Post deleted successfully"}));
    assert_eq!(server.get(&path, &ann).await.problem(), NOT_FOUND);
    assert_eq!(server.delete(&path, &ann).await.problem(), NOT_FOUND);
}

#[database_test]
async fn a_private_post_answers_as_one_that_does_not_exist(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let post = server.new_post(&ann, "secret", true).await;
    server.post(&format!("/posts/{post}/comment"), &ann, json!({"content": "to myself"})).await.ok();
    // As long a number, so that even the lengths of the answers are the same.
    let missing = 9;
    for viewer in [Some(&bob), None] {
        let private = everything_on(&server, post, viewer).await;
        let none = everything_on(&server, missing, viewer).await;
        for ((name, private), (_, none)) in private.iter().zip(&none) {
            assert_eq!(said(private), said(none), "{name}");
        }
    }
    for (_, answer) in everything_on(&server, missing, Some(&bob)).await {
        assert_eq!(answer.problem(), NOT_FOUND);
    }
    assert_eq!(server.get("/posts/", &bob).await.ok()["posts"], json!([]));
    assert_eq!(server.get(&format!("/posts/?user_id={}", ann.id), &bob).await.ok()["total"], 0);
    assert_eq!(server.get(&format!("/posts/{post}"), &ann).await.ok()["comments_count"], 1);
    assert_eq!(server.get(&format!("/posts/{post}/comment"), &ann).await.ok()["total"], 1);
}

#[database_test]
async fn a_like_counts_once_and_can_be_taken_back(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let post = server.new_post(&ann, "hi", false).await;
    let path = format!("/posts/{post}/like");
    let liked = server.post(&path, &bob, json!(null)).await.ok();
    assert_eq!(liked, json!({"success": true, "message": "Post liked successfully", "likes_count": 1}));
    assert_eq!(server.post(&path, &bob, json!(null)).await.problem(), (400, "You already liked this post"));
    assert_eq!(server.post(&path, &ann, json!(null)).await.ok()["likes_count"], 2);
    let seen = server.get(&format!("/posts/{post}"), &bob).await.ok();
    assert_eq!((&seen["likes_count"], &seen["liked_by_me"]), (&json!(2), &json!(true)));
    let unliked = server.delete(&path, &bob).await.ok();
    assert_eq!(unliked, json!({"success": true, "message": "Post unliked successfully", "likes_count": 1}));
    assert_eq!(server.delete(&path, &bob).await.problem(), (400, "You haven't liked this post"));
    assert_eq!(server.get(&format!("/posts/{post}"), &bob).await.ok()["liked_by_me"], false);
}

#[database_test]
async fn the_feed_has_what_is_public_and_ones_own(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let first = server.new_post(&ann, "public of ann", false).await;
    let second = server.new_post(&ann, "private of ann", true).await;
    let third = server.new_post(&bob, "public of bob", false).await;
    let ids = async |path: &str, user: &User| {
        let list = server.get(path, user).await.ok();
        let posts = list["posts"].as_array().unwrap().clone();
        assert_eq!(list["total"], posts.len());
        posts.iter().map(|post| post["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("/posts/", &ann).await, [third, second, first]);
    assert_eq!(ids("/posts", &bob).await, [third, first]);
    assert_eq!(ids("/posts/?user_id=me", &ann).await, [second, first]);
    assert_eq!(ids(&format!("/posts/?user_id={}", ann.id), &bob).await, [first]);
    assert_eq!(ids("/posts/?user_id=999999", &bob).await, [0; 0]);
    assert_eq!(ids("/posts/?user_id=99999999999999999999", &bob).await, [0; 0]);
    assert_eq!(server.get("/posts/?user_id=somebody", &bob).await.json["errors"][0]["type"], "int_parsing");
}
