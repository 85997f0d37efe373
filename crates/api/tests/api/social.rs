//! Comments, follows, and the notifications that come of them.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::helpers::{Server, User};

/// The notifications: their list, their number, how many are unread.
async fn told(server: &Server, user: &User) -> (Vec<Value>, i64, i64) {
    let list = server.get("/notifications/", user).await.ok();
    let number = |key: &str| list[key].as_i64().unwrap();
    (list["notifications"].as_array().unwrap().clone(), number("total"), number("unread_count"))
}

#[database_test]
async fn its_author_alone_changes_a_comment(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let post = server.new_post(&ann, "hi", false).await;
    let other = server.new_post(&ann, "other", false).await;
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
    // Null is no body, to those who always send one.
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
async fn a_comment_has_1_to_2000_characters(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let path = format!("/posts/{}/comment", server.new_post(&ann, "hi", false).await);
    assert_eq!(server.post(&path, &ann, json!({"content": "ß".repeat(2000)})).await.status, 200);
    for (body, kind) in [
        (json!({}), "missing"),
        (json!({"content": " "}), "string_too_short"),
        (json!({"content": "x".repeat(2001)}), "string_too_long"),
        (json!({"content": ["x"]}), "string_type"),
    ] {
        let answer = server.post(&path, &ann, body).await;
        assert_eq!((answer.status, answer.json["errors"][0]["type"].as_str()), (422, Some(kind)));
    }
    // A bearer that is no good is none where strangers may read.
    let stale = User { access: "null".into(), ..ann.clone() };
    assert_eq!(server.get(&path, &stale).await.ok()["total"], 1);
    assert_eq!(server.post(&path, &stale, json!({"content": "x"})).await.problem(), (401, "Invalid token"));
}

#[database_test]
async fn following_is_told_counted_and_taken_back(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (follow, unfollow) = (format!("/users/{}/follow", ann.id), format!("/users/{}/unfollow", ann.id));
    let followed = server.post(&follow, &bob, json!(null)).await.ok();
    assert_eq!(followed, json!({"success": true, "message": "User followed successfully"}));
    assert_eq!(server.post(&follow, &bob, json!(null)).await.problem(), (400, "Already following this user"));
    assert_eq!(server.post(&follow, &ann, json!(null)).await.problem(), (400, "You cannot follow yourself"));
    for nobody in ["999999", "-1", "99999999999999999999"] {
        let path = format!("/users/{nobody}/follow");
        assert_eq!(server.post(&path, &bob, json!(null)).await.problem(), (404, "User not found"));
    }
    let followers = server.get(&format!("/users/{}/followers", ann.id), None).await.ok();
    assert_eq!(followers["followers"], json!([{"id": bob.id, "username": "bob"}]));
    assert_eq!((&followers["count"], &followers["page_size"]), (&json!(1), &json!(100)));
    let following = server.get(&format!("/users/{}/following/", bob.id), None).await.ok();
    assert_eq!(following["following"], json!([{"id": ann.id, "username": "ann"}]));
    let me = server.get("/users/me", &ann).await.ok();
    assert_eq!((&me["followers"], &me["followers_count"]), (&followers["followers"], &json!(1)));
    assert_eq!(server.get("/users/999/followers", None).await.problem(), (404, "User not found"));
    let unfollowed = server.delete(&unfollow, &bob).await.ok();
    assert_eq!(unfollowed, json!({"success": true, "message": "User unfollowed successfully"}));
    assert_eq!(server.delete(&unfollow, &bob).await.problem(), (400, "You are not following this user"));
    assert_eq!(told(&server, &ann).await.1, 0);
}

#[database_test]
async fn deeds_are_told_once_and_never_to_who_did_them(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let post = server.new_post(&ann, "hi", false).await;
    let like = format!("/posts/{post}/like");
    server.post(&like, &ann, json!(null)).await.ok();
    server.post(&format!("/posts/{post}/comment"), &ann, json!({"content": "mine"})).await.ok();
    assert_eq!(told(&server, &ann).await.1, 0);
    for _ in 0..3 {
        server.post(&like, &bob, json!(null)).await.ok();
        server.delete(&like, &bob).await.ok();
    }
    assert_eq!(told(&server, &ann).await.1, 0);
    server.post(&like, &bob, json!(null)).await.ok();
    let comment = server.post(&format!("/posts/{post}/comment"), &bob, json!({"content": "x"})).await.ok();
    server.post(&format!("/users/{}/follow", ann.id), &bob, json!(null)).await.ok();
    let (list, total, unread) = told(&server, &ann).await;
    assert_eq!((total, unread), (3, 3));
    let shown: Vec<_> = list
        .iter()
        .map(|told| (&told["type"], &told["post_id"], &told["comment_id"], &told["message"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("follow"), &json!(null), &json!(null), &json!("bob started following you")),
            (&json!("comment"), &json!(post), &comment["id"], &json!("bob commented on your post")),
            (&json!("like"), &json!(post), &json!(null), &json!("bob liked your post")),
        ]
    );
    assert!(list.iter().all(|told| told["actor_id"] == bob.id && told["is_read"] == false));
    server.delete(&format!("/posts/{post}/comment/{}", comment["id"]), &bob).await.ok();
    assert_eq!(told(&server, &ann).await.1, 2);
    server.delete(&format!("/posts/{post}"), &ann).await.ok();
    assert_eq!(told(&server, &ann).await.1, 1);
}

#[database_test]
async fn notifications_are_read_and_deleted_by_their_recipient_alone(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    for n in 0..3 {
        let post = server.new_post(&ann, &format!("post {n}"), false).await;
        server.post(&format!("/posts/{post}/like"), &bob, json!(null)).await.ok();
    }
    let id = told(&server, &ann).await.0[0]["id"].clone();
    let (read, path) = (format!("/notifications/{id}/read"), format!("/notifications/{id}"));
    for _ in 0..2 {
        let marked = server.put(&read, &ann, json!(null)).await.ok();
        assert_eq!(marked, json!({"success": true, "message": "Notification marked as read"}));
    }
    assert_eq!(told(&server, &ann).await.2, 2);
    let unread = server.get("/notifications/?unread_only=true", &ann).await.ok();
    assert_eq!((&unread["total"], &unread["unread_count"]), (&json!(2), &json!(2)));
    let not_found = (404, "Notification not found");
    assert_eq!(server.put(&read, &bob, json!(null)).await.problem(), not_found);
    assert_eq!(server.delete(&path, &bob).await.problem(), not_found);
    assert_eq!(
        server.delete(&path, &ann).await.ok(),
        json!({"success": true, "message": "Notification deleted"})
    );
    assert_eq!(server.delete(&path, &ann).await.problem(), not_found);
    let all = server.put("/notifications/read-all", &ann, json!(null)).await.ok();
    assert_eq!(all, json!({"success": true, "message": "All notifications marked as read"}));
    let (_, total, unread) = told(&server, &ann).await;
    assert_eq!((total, unread), (2, 0));
    assert_eq!(
        server.get("/notifications/?unread_only=perhaps", &ann).await.json["errors"][0]["type"],
        "bool_parsing"
    );
}
