//! `/posts/{post_id}/comment`.

use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{Server, User};

#[database_test]
async fn comment_is_changed_and_deleted_by_its_author_only(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = server.create_post(&ann, "hi", false).await;
    let other = server.create_post(&ann, "other", false).await;
    let comments = format!("/posts/{post}/comment");
    let comment = server.post(&comments, &bob, json!({"content": "  nice \n"})).await.ok();
    for (key, value) in [
        ("post_id", json!(post)),
        ("user_id", json!(bob.id)),
        ("username", json!("bob")),
        ("content", json!("nice")),
        ("updated_at", json!(null)),
    ] {
        assert_eq!(comment[key], value, "{key}");
    }
    let path = format!("{comments}/{}", comment["id"]);
    let changed = server.put(&path, &bob, json!({"content": "very nice"})).await.ok();
    assert!(changed["content"] == "very nice" && changed["updated_at"].is_string());
    let changed = server.put(&format!("{path}?content=by+query"), &bob, json!(null)).await.ok();
    assert_eq!(changed["content"], "by query");
    // Some clients send `null` for an empty body.
    let null = server.request(Method::PUT, &format!("{path}?content=by+query")).bearer_auth(&bob.access);
    assert_eq!(server.send(null.json(&json!(null))).await.ok()["content"], "by query");
    let not_found = (404, "Comment not found");
    assert_eq!(server.put(&path, &ann, json!({"content": "x"})).await.problem(), not_found);
    assert_eq!(server.delete(&path, &ann).await.problem(), not_found);
    let elsewhere = format!("/posts/{other}/comment/{}", comment["id"]);
    assert_eq!(server.delete(&elsewhere, &bob).await.problem(), not_found);
    let nowhere = format!("/posts/999/comment/{}", comment["id"]);
    assert_eq!(server.put(&nowhere, &bob, json!({"content": "x"})).await.problem(), (404, "Post not found"));
    assert_eq!(server.get(&comments, None).await.ok()["comments"][0]["content"], "by query");
    assert_eq!(server.get(&format!("/posts/{post}"), &ann).await.ok()["comments_count"], 1);
    assert_eq!(server.delete(&path, &bob).await.ok(), json!({"success": true, "message": "Comment deleted"}));
    assert_eq!(server.delete(&path, &bob).await.problem(), not_found);
    assert_eq!(server.get(&format!("/posts/{post}"), &ann).await.ok()["comments_count"], 0);
}

#[database_test]
async fn comment_length_is_1_to_2000_characters(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let path = format!("/posts/{}/comment", server.create_post(&ann, "hi", false).await);
    assert_eq!(server.post(&path, &ann, json!({"content": "ß".repeat(2000)})).await.status, 200);
    for (body, kind) in [
        (json!({}), "missing"),
        (json!({"content": " "}), "string_too_short"),
        (json!({"content": "x".repeat(2001)}), "string_too_long"),
        (json!({"content": ["x"]}), "string_type"),
    ] {
        let response = server.post(&path, &ann, body).await;
        assert_eq!(response.validation_error(), (422, kind));
    }
    // An invalid token counts as no token where anonymous clients may read.
    let stale = User { access: "null".into(), ..ann.clone() };
    assert_eq!(server.get(&path, &stale).await.ok()["total"], 1);
    assert_eq!(server.post(&path, &stale, json!({"content": "x"})).await.problem(), (401, "Invalid token"));
}
