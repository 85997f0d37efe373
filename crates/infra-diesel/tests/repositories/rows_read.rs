//! Rows that lists read in large tables.

use std::time::{Duration, Instant};

use chrono::Utc;
use domain::{page::PageRequest, posts::PostId, sessions::SessionId, users::UserId};
use infra_diesel::Database;
use test_support::TestDatabase;
use tokio_postgres::Client;

use crate::helpers::{after, open, page, user};

/// 20,000 public and 2,000 private posts of each of two users, with comments and likes.
const GROW: &str = "
    INSERT INTO posts (user_id, content, is_private, likes_count, comments_count, created_at)
      SELECT id, 'post ' || n, n % 11 = 0, 0, 0, now() - n * interval '1 minute'
      FROM users, generate_series(1, 22000) AS n;
    UPDATE user_counters SET posts = 22000, private_posts = 2000, notifications = 22000, unread = 22000;
    INSERT INTO comments (post_id, user_id, content, created_at)
      SELECT (SELECT min(id) FROM posts), (SELECT min(id) FROM users), 'x', now() - n * interval '1 minute'
      FROM generate_series(1, 20000) AS n;
    UPDATE posts SET comments_count = 20000 WHERE id = (SELECT min(id) FROM posts);
    INSERT INTO notifications (recipient_id, actor_id, kind, post_id, created_at)
      SELECT (SELECT min(id) FROM users), (SELECT max(id) FROM users), 'like', id, created_at FROM posts
      WHERE user_id = (SELECT min(id) FROM users);";

/// Number of rows read from tables and indexes.
async fn rows_read(client: &Client) -> i64 {
    let query = "SELECT (coalesce(sum(seq_tup_read), 0) + (SELECT coalesce(sum(idx_tup_read), 0)
                 FROM pg_stat_user_indexes))::bigint FROM pg_stat_user_tables";
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// A database with large tables.
async fn large_database(database: &TestDatabase) -> (Database, Client, UserId, UserId) {
    let db = open(database).await;
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let client = database.client().await;
    client.batch_execute(GROW).await.unwrap();
    client.batch_execute("ANALYZE").await.unwrap();
    (db, client, ann, bob)
}

/// Number of rows read since `before`. Connections report at the end of a transaction, at most once a second.
async fn rows_read_since(before: i64, client: &Client, db: &Database) -> i64 {
    let begun = Instant::now();
    let mut read = 0;
    while begun.elapsed() < Duration::from_secs(3) || read == 0 {
        db.posts.find(PostId(1), UserId(1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        read = rows_read(client).await - before;
        assert!(begun.elapsed() < Duration::from_secs(30), "no statistics were reported");
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_reads_only_the_rows_it_returns() {
    let database = TestDatabase::postgres().await;
    let (db, client, ann, bob) = large_database(&database).await;
    client.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    let post = db.posts.list(ann, Some(ann), page(1, 1)).await.unwrap().items[0].id;
    let before = rows_read(&client).await;

    let rounds = 20;
    for _ in 0..rounds {
        let first = db.posts.list(ann, None, page(1, 10)).await.unwrap();
        assert_eq!((first.items.len(), first.total), (10, 42_000));
        let second: PageRequest = after(first.next, 10);
        assert_eq!(db.posts.list(ann, None, second).await.unwrap().items.len(), 10);
        assert_eq!(db.posts.list(bob, Some(ann), page(1, 10)).await.unwrap().total, 20_000);
        assert_eq!(db.posts.list(bob, Some(ann), page(500_000, 10)).await.unwrap().items.len(), 0);
        assert_eq!(db.notifications.list(ann, true, page(1, 10)).await.unwrap().page.items.len(), 10);
        db.comments.list(post, Some(ann), page(1, 10)).await.unwrap().unwrap();
    }
    let read = rows_read_since(before, &client, &db).await;
    // Six lists of ten rows, each with authors, likes and counters.
    assert!(read < rounds * 6 * 150, "{read} rows were read for {} lists", rounds * 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_page_reads_one_feed_bucket_also_for_an_author_of_many_private_posts() {
    let database = TestDatabase::postgres().await;
    let (db, client, ann, _) = large_database(&database).await;
    client
        .batch_execute("UPDATE posts SET is_private = true WHERE user_id = (SELECT min(id) FROM users)")
        .await
        .unwrap();
    db.maintenance.count_feed_changes().await.unwrap();
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
    client.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    // Waits for the statistics of the warm-up.
    rows_read_since(0, &client, &db).await;
    let before = rows_read(&client).await;
    let rounds = 20;
    for round in 0..rounds {
        let far = db.posts.list(ann, None, page(1_900 + round, 20)).await.unwrap();
        assert_eq!(far.items.len(), 20);
        assert_eq!(db.posts.list(ann, None, page(1 << 50, 20)).await.unwrap().items.len(), 0);
    }
    let read = rows_read_since(before, &client, &db).await;
    // Two pages, each with the counts, one bucket, and 20 posts with likes.
    assert!(read < rounds * 2 * 5_000, "{read} rows were read for {} pages", rounds * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_of_sessions_reads_two_rows_for_each() {
    let database = TestDatabase::postgres().await;
    let (db, client) = (open(&database).await, database.client().await);
    user(&db, "ann", 1).await;
    let grow = "INSERT INTO users (username, email, password_hash, created_at)
          SELECT 'u' || n, 'u' || n, '', now() FROM generate_series(1, 20000) AS n;
        INSERT INTO sessions (id, user_id, refresh_id, refreshed_at, created_at, ends_at, ended_at)
          SELECT 1000000 + n, id, '', now(), now(), now() + interval '1 day', CASE WHEN n % 4 = 0 THEN now() END
          FROM users, generate_series(0, 3) AS m, LATERAL (SELECT id * 4 + m AS n) AS numbered;";
    client.batch_execute(grow).await.unwrap();
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
    client.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    rows_read_since(0, &client, &db).await;
    let before = rows_read(&client).await;
    let (rounds, sessions) = (20, 512);
    for round in 0..rounds {
        let ids = (0..sessions).map(|n| SessionId(1_001_000 + round * 1_000 + n)).collect();
        let active = db.sessions.retain_active(ids, Utc::now()).await.unwrap();
        assert_eq!(active.len(), 384);
    }
    let read = rows_read_since(before, &client, &db).await;
    // Index and table, of the session and of its user.
    assert!(read < rounds * sessions * 5, "{read} rows were read for {} sessions", rounds * sessions);
}
