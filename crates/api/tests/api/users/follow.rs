//! `/users/{user_id}/follow`, `/unfollow`, `/followers` and `/following`.

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::{api::notifications::notifications_of, harness::Server};

#[database_test]
async fn follow_is_counted_notified_and_can_be_removed(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let (follow, unfollow) = (format!("/users/{}/follow", ann.id), format!("/users/{}/unfollow", ann.id));
    let followed = server.post(&follow, &bob, json!(null)).await.ok();
    assert_eq!(followed, json!({"success": true, "message": "User followed successfully"}));
    assert_eq!(server.post(&follow, &bob, json!(null)).await.problem(), (400, "Already following this user"));
    assert_eq!(server.post(&follow, &ann, json!(null)).await.problem(), (400, "You cannot follow yourself"));
    for unknown in ["999999", "-1", "99999999999999999999"] {
        let path = format!("/users/{unknown}/follow");
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
    assert_eq!(notifications_of(&server, &ann).await.1, 0);
}
