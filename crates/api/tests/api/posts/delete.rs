//! `DELETE /posts/{post_id}`.

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

#[database_test]
async fn delete_removes_likes_comments_and_notifications(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let (deleted, other) =
        (server.create_post(&ann, "deleted", false).await, server.create_post(&ann, "other", false).await);
    for post in [deleted, other] {
        for user in [&ann, &bob] {
            server.post(&format!("/posts/{post}/like"), user, json!(null)).await.ok();
            server.post(&format!("/posts/{post}/comment"), user, json!({"content": "x"})).await.ok();
        }
    }
    server.put("/notifications/read-all", &ann, json!(null)).await.ok();
    server.post(&format!("/posts/{deleted}/comment"), &bob, json!({"content": "unread"})).await.ok();
    assert_eq!(server.get("/notifications/", &ann).await.ok()["unread_count"], 1);
    server.delete(&format!("/posts/{deleted}"), &ann).await.ok();
    for table in ["likes", "comments", "notifications"] {
        let of = async |post: i64| {
            db.number(&format!("SELECT count(*) FROM {table} WHERE post_id = {post}")).await
        };
        assert_eq!((of(deleted).await, of(other).await), (0, 2), "{table}");
    }
    let notifications = server.get("/notifications/", &ann).await.ok();
    assert_eq!((&notifications["total"], &notifications["unread_count"]), (&json!(2), &json!(0)));
    assert_eq!(server.get("/users/me", &ann).await.ok()["posts_count"], 1);
    db.agrees().await;
}
