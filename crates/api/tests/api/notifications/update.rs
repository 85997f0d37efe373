//! `PUT` and `DELETE` of notifications.

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::{api::notifications::notifications_of, harness::Server};

#[database_test]
async fn notification_is_read_and_deleted_by_its_recipient_only(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    for n in 0..3 {
        let post = server.create_post(&ann, &format!("post {n}"), false).await;
        server.post(&format!("/posts/{post}/like"), &bob, json!(null)).await.ok();
    }
    let id = notifications_of(&server, &ann).await.0[0]["id"].clone();
    let (read, path) = (format!("/notifications/{id}/read"), format!("/notifications/{id}"));
    for _ in 0..2 {
        let marked = server.put(&read, &ann, json!(null)).await.ok();
        assert_eq!(marked, json!({"success": true, "message": "Notification marked as read"}));
    }
    assert_eq!(notifications_of(&server, &ann).await.2, 2);
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
    let (_, total, unread) = notifications_of(&server, &ann).await;
    assert_eq!((total, unread), (2, 0));
    assert_eq!(
        server.get("/notifications/?unread_only=perhaps", &ann).await.json["errors"][0]["type"],
        "bool_parsing"
    );
}
