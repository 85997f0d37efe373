//! `GET /notifications/`.

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::{api::notifications::notifications_of, harness::Server};

#[database_test]
async fn actions_notify_once_and_never_the_actor(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = server.create_post(&ann, "hi", false).await;
    let like = format!("/posts/{post}/like");
    server.post(&like, &ann, json!(null)).await.ok();
    server.post(&format!("/posts/{post}/comment"), &ann, json!({"content": "mine"})).await.ok();
    assert_eq!(notifications_of(&server, &ann).await.1, 0);
    for _ in 0..3 {
        server.post(&like, &bob, json!(null)).await.ok();
        server.delete(&like, &bob).await.ok();
    }
    assert_eq!(notifications_of(&server, &ann).await.1, 0);
    server.post(&like, &bob, json!(null)).await.ok();
    let comment = server.post(&format!("/posts/{post}/comment"), &bob, json!({"content": "x"})).await.ok();
    server.post(&format!("/users/{}/follow", ann.id), &bob, json!(null)).await.ok();
    let (list, total, unread) = notifications_of(&server, &ann).await;
    assert_eq!((total, unread), (3, 3));
    let shown: Vec<_> = list
        .iter()
        .map(|notification| {
            (
                &notification["type"],
                &notification["post_id"],
                &notification["comment_id"],
                &notification["message"],
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("follow"), &json!(null), &json!(null), &json!("bob started following you")),
            (&json!("comment"), &json!(post), &comment["id"], &json!("bob commented on your post")),
            (&json!("like"), &json!(post), &json!(null), &json!("bob liked your post")),
        ]
    );
    assert!(
        list.iter()
            .all(|notification| notification["actor_id"] == bob.id && notification["is_read"] == false)
    );
    server.delete(&format!("/posts/{post}/comment/{}", comment["id"]), &bob).await.ok();
    assert_eq!(notifications_of(&server, &ann).await.1, 2);
    server.delete(&format!("/posts/{post}"), &ann).await.ok();
    assert_eq!(notifications_of(&server, &ann).await.1, 1);
}
