//! `POST` and `DELETE /posts/{post_id}/like`.

use application::random;
use futures_util::future::join_all;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{Server, create_users};

#[database_test]
async fn like_counts_once_and_can_be_removed(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = server.create_post(&ann, "hi", false).await;
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
async fn concurrent_likes_count_once_per_user(db: TestDatabase) {
    let key = random::token::<32>().unwrap();
    let users = create_users(&db, &key, 200).await;
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    let post = server.create_post(&users[0], "hi", false).await;
    let path = format!("/posts/{post}/like");
    let responses = join_all(users.iter().map(|user| server.post(&path, user, json!(null)))).await;
    let mut counts: Vec<i64> =
        responses.into_iter().map(|response| response.ok()["likes_count"].as_i64().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=200).collect::<Vec<i64>>());
    let other = server.create_post(&users[0], "again", false).await;
    let path = format!("/posts/{other}/like");
    let responses = join_all((0..50).map(|_| server.post(&path, &users[1], json!(null)))).await;
    assert_eq!(responses.iter().filter(|response| response.status == 200).count(), 1);
    assert!(
        responses
            .iter()
            .all(|response| [(200, ""), (400, "You already liked this post")].contains(&response.problem()))
    );
    for (post, likes) in [(post, 200), (other, 1)] {
        assert_eq!(server.get(&format!("/posts/{post}"), &users[0]).await.ok()["likes_count"], likes);
    }
    // A like of the own post notifies no one.
    let notifications = server.get("/notifications/", &users[0]).await.ok();
    assert_eq!((&notifications["total"], &notifications["unread_count"]), (&json!(200), &json!(200)));
    db.agrees().await;
}
