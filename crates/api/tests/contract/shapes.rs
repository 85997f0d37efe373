//! The keys that clients read: keys may be added, none may go.

use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

const POST: &str = "id user_id author_username content media_url is_private likes_count comments_count liked_by_me \
                    created_at updated_at";
const COMMENT: &str = "id post_id user_id username content created_at updated_at";

const NOTIFICATION: &str = "id type actor_id actor_username post_id comment_id is_read created_at message";

const LIST: &str = "total page page_size total_pages next_cursor";

fn assert_has_keys(value: &Value, keys: &str) {
    let object = value.as_object().unwrap();
    for key in keys.split_whitespace() {
        assert!(object.contains_key(key), "{key} is not in {value}");
    }
}

#[database_test]
async fn every_resource_has_all_its_keys(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = server.post("/posts/", &ann, json!({"content": "hi"})).await.ok();
    let path = format!("/posts/{}", post["id"]);
    let comment = server.post(&format!("{path}/comment"), &bob, json!({"content": "x"})).await.ok();
    server.post(&format!("{path}/like"), &bob, json!(null)).await.ok();
    server.post(&format!("/users/{}/follow", ann.id), &bob, json!(null)).await.ok();
    let (posts, comments) =
        (server.get("/posts", &bob).await.ok(), server.get(&format!("{path}/comment"), None).await.ok());
    let notifications = server.get("/notifications", &ann).await.ok();
    for shown in [
        &post,
        &posts["posts"][0],
        &server.get(&path, &bob).await.ok(),
        &server.put(&path, &ann, json!({})).await.ok(),
    ] {
        assert_has_keys(shown, POST);
    }
    for shown in [&comment, &comments["comments"][0]] {
        assert_has_keys(shown, COMMENT);
    }
    assert_eq!(notifications["notifications"].as_array().unwrap().len(), 3);
    notifications["notifications"]
        .as_array()
        .unwrap()
        .iter()
        .for_each(|one| assert_has_keys(one, NOTIFICATION));
    let followers = server.get(&format!("/users/{}/followers", ann.id), None).await.ok();
    let following = server.get(&format!("/users/{}/following", ann.id), None).await.ok();
    for (list, name) in [
        (&posts, "posts"),
        (&comments, "comments"),
        (&notifications, "notifications"),
        (&followers, "followers"),
        (&following, "following"),
    ] {
        assert_has_keys(list, LIST);
        assert!(list[name].is_array(), "{name}");
    }
    for list in [&followers, &following] {
        assert_eq!(list["count"], list["total"]);
        assert_eq!(list["page_size"], 100);
    }
    assert_has_keys(&notifications, "unread_count");
    let me = server.get("/users/me", &ann).await.ok();
    assert_has_keys(
        &me,
        "success id username email posts_count followers following followers_count following_count",
    );
    assert_eq!(me["followers"], json!([{"id": bob.id, "username": "bob"}]));
}
