//! `api seed`.

use std::time::{Duration, Instant};

use application::passwords::{HashCost, PasswordHasher, Requester};
use bench_data::{Seed, SeedError};
use infra_diesel::DatabaseUrl;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

async fn seed(db: &TestDatabase, seed: u32) -> Result<(), SeedError> {
    seed_posts(db, seed, 90).await
}

async fn seed_posts(db: &TestDatabase, seed: u32, posts: i64) -> Result<(), SeedError> {
    let url = DatabaseUrl::parse(db.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let passwords = PasswordHasher::new(HashCost::CHEAPEST, 1, 1).unwrap();
    let password = passwords.hash("password123".to_owned(), &Requester::local()).await.unwrap();
    let network = Seed { users: 30, posts, likes: 500, comments: 200, follows: 150, seed, password };
    bench_data::seed(&url, &network).await
}

/// How many posts the feed index counts.
const COUNTED: &str = "SELECT coalesce(sum(posts), 0) FROM feed_buckets";

/// A number that differs where the rows do.
async fn rows(db: &TestDatabase) -> i64 {
    db.number(
        "SELECT (SELECT sum(id * (user_id * 31 + length(content) * 7 + likes_count)) FROM posts)
           + (SELECT sum(id * (recipient_id * 37 + actor_id)) FROM notifications)
           + (SELECT sum(id * user_id) FROM comments)
           + (SELECT sum(follower_id * (followee_id + 100)) FROM follows)",
    )
    .await
}

#[database_test]
async fn seeded_counters_equal_the_rows(db: TestDatabase) {
    seed(&db, 1).await.unwrap();
    db.agrees().await;
    for (table, least) in [
        ("users", 30),
        ("posts", 90),
        ("likes", 250),
        ("comments", 200),
        ("follows", 75),
        ("notifications", 500),
    ] {
        assert!(db.number(&format!("SELECT count(*) FROM {table}")).await >= least, "{table}");
    }
    let on_strangers_posts =
        "SELECT count(*) FROM posts WHERE is_private AND (likes_count > 0 OR comments_count > 0)";
    assert_eq!(db.number(on_strangers_posts).await, 0);
}

#[database_test]
async fn seeded_users_can_log_in_and_write(db: TestDatabase) {
    seed(&db, 1).await.unwrap();
    let server = Server::start(&db).await;
    let login = json!({"username": "user7@example.com", "password": "password123"});
    let token =
        server.post("/users/login", None, login).await.ok()["access_token"].as_str().unwrap().to_owned();
    let request = |method, path| server.request(method, path).bearer_auth(&token);
    let page = server.send(request(reqwest::Method::GET, "/posts/?page_size=100")).await.ok();
    let (total, ids) = (page["total"].as_i64().unwrap(), page["posts"].as_array().unwrap());
    assert_eq!(usize::try_from(total).unwrap(), ids.len());
    let cursor =
        server.send(request(reqwest::Method::GET, "/posts/?page_size=10")).await.ok()["next_cursor"].clone();
    let next = format!("/posts/?page_size=10&cursor={}", cursor.as_str().unwrap());
    assert_eq!(server.send(request(reqwest::Method::GET, &next)).await.ok()["posts"][0]["id"], ids[10]["id"]);
    let new = server.send(request(reqwest::Method::POST, "/posts/").form(&[("content", "new")])).await.ok();
    assert_eq!(new["id"], 91);
    let comment = format!("/posts/{}/comment", ids[0]["id"]);
    server.send(request(reqwest::Method::POST, &comment).json(&json!({"content": "new"}))).await.ok();
    db.agrees().await;
}

#[database_test]
async fn seeding_keeps_every_index(db: TestDatabase) {
    infra_diesel::migrate(&DatabaseUrl::parse(db.url()).unwrap(), false).await.unwrap();
    let indexes = if db.url().starts_with("sqlite") {
        "SELECT sum(length(name) * length(coalesce(sql, name))) FROM sqlite_master WHERE type = 'index'"
    } else {
        "SELECT sum(hashtext(indexdef)) FROM pg_indexes WHERE schemaname = 'public'"
    };
    let before = db.number(indexes).await;
    seed(&db, 1).await.unwrap();
    assert_eq!(db.number(indexes).await, before);
}

#[database_test]
async fn seeding_fills_the_feed_index(db: TestDatabase) {
    seed_posts(&db, 1, 2_200).await.unwrap();
    assert_eq!(db.number(COUNTED).await, 2_200);
}

#[database_test]
async fn server_builds_a_missing_feed_index(db: TestDatabase) {
    seed_posts(&db, 1, 2_200).await.unwrap();
    db.execute("DELETE FROM feed_buckets").await;
    let server = Server::start(&db).await;
    let start = Instant::now();
    while db.number(COUNTED).await < 2_200 {
        assert!(start.elapsed() < Duration::from_mins(1), "the feed index is not built");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let login = json!({"username": "user7@example.com", "password": "password123"});
    let token =
        server.post("/users/login", None, login).await.ok()["access_token"].as_str().unwrap().to_owned();
    let get = |path: String| server.send(server.request(reqwest::Method::GET, &path).bearer_auth(&token));
    let (mut by_number, mut by_cursor, mut cursor) = (Vec::new(), Vec::new(), String::new());
    for number in 1..=23 {
        let page = get(format!("/posts/?page_size=100&page={number}")).await.ok();
        by_number.extend(page["posts"].as_array().unwrap().clone());
        let page = get(format!("/posts/?page_size=100&cursor={cursor}")).await.ok();
        by_cursor.extend(page["posts"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert!(by_number.len() > 2_090);
    assert_eq!(by_number, by_cursor);
}

#[database_test]
async fn seeding_a_used_database_fails_and_changes_nothing(db: TestDatabase) {
    seed(&db, 1).await.unwrap();
    let before = rows(&db).await;
    assert!(matches!(seed(&db, 2).await, Err(SeedError::NotNew)));
    assert_eq!(rows(&db).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_seed_gives_the_same_data_on_both_databases() {
    let (one, two) = (TestDatabase::postgres().await, TestDatabase::sqlite().await);
    seed(&one, 1).await.unwrap();
    seed(&two, 1).await.unwrap();
    assert_eq!(rows(&one).await, rows(&two).await);
    let three = TestDatabase::sqlite().await;
    seed(&three, 2).await.unwrap();
    assert_ne!(rows(&two).await, rows(&three).await);
}
