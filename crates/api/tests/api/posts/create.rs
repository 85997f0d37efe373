//! `POST /posts/`.

use reqwest::{Method, multipart::Form};
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

#[database_test]
async fn post_is_created_from_multipart_form_or_json(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
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
async fn empty_and_oversized_posts_are_rejected(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
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
        let response = server.post("/posts/", &ann, body).await;
        assert_eq!(response.validation_error(), (422, kind));
    }
    assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 1);
}

#[database_test]
async fn invisible_text_counts_as_absent(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let post = server.create_post(&ann, "hi", false).await;
    let comments = format!("/posts/{post}/comment");
    for invisible in ["\u{200b}", "\u{2800}", "\u{3164}", "\u{feff} \u{2060}\n"] {
        let response = server.post("/posts/", &ann, json!({"content": invisible})).await;
        assert_eq!(response.problem(), (400, "Post must have either content or media"), "{invisible:?}");
        let response = server.post(&comments, &ann, json!({"content": invisible})).await;
        assert_eq!(response.validation_error(), (422, "string_too_short"), "{invisible:?}");
    }
    for visible in ["\u{1f469}\u{200d}\u{1f4bb}", "\u{200b}a"] {
        for path in ["/posts/", &comments] {
            let created = server.post(path, &ann, json!({"content": visible})).await.ok();
            assert_eq!(created["content"], visible);
        }
    }
}
