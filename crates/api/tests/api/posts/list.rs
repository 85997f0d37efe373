//! `GET /posts/`.

use test_support::{TestDatabase, database_test};

use crate::harness::{Server, User};

#[database_test]
async fn feed_contains_public_posts_and_the_callers_own(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let first = server.create_post(&ann, "public of ann", false).await;
    let second = server.create_post(&ann, "private of ann", true).await;
    let third = server.create_post(&bob, "public of bob", false).await;
    let ids = async |path: &str, user: &User| {
        let list = server.get(path, user).await.ok();
        let posts = list["posts"].as_array().unwrap().clone();
        assert_eq!(list["total"], posts.len());
        posts.iter().map(|post| post["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("/posts/", &ann).await, [third, second, first]);
    assert_eq!(ids("/posts", &bob).await, [third, first]);
    assert_eq!(ids("/posts/?user_id=me", &ann).await, [second, first]);
    assert_eq!(ids(&format!("/posts/?user_id={}", ann.id), &bob).await, [first]);
    assert_eq!(ids("/posts/?user_id=999999", &bob).await, [0; 0]);
    assert_eq!(ids("/posts/?user_id=99999999999999999999", &bob).await, [0; 0]);
    assert_eq!(server.get("/posts/?user_id=somebody", &bob).await.json["errors"][0]["type"], "int_parsing");
}
