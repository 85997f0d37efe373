//! `PUT /posts/{post_id}`.

use reqwest::multipart::Form;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

const NOT_FOUND: (u16, &str) = (404, "Post not found");

#[database_test]
async fn update_by_the_author_changes_only_the_named_fields(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let path = format!("/posts/{}", server.create_post(&ann, "hi", false).await);
    for nothing in [json!({}), json!({"content": "", "is_private": ""})] {
        assert_eq!(server.put(&path, &ann, nothing).await.ok()["updated_at"], json!(null));
    }
    let changed = server.put(&path, &ann, json!({"content": "hello"})).await.ok();
    assert_eq!((&changed["content"], &changed["is_private"]), (&json!("hello"), &json!(false)));
    assert!(changed["updated_at"].is_string());
    let form = Form::new().text("is_private", "1");
    let changed = server.put_form(&path, &ann, form).await.ok();
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
async fn making_a_post_private_hides_and_keeps_its_likes_and_comments(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let path = format!("/posts/{}", server.create_post(&ann, "hi", false).await);
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
