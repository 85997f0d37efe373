//! Deep pages of the feed, which the feed index finds by the counts of its buckets.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use domain::{
    posts::{PostChange, PostId, PostRevision, PostUpdate},
    users::UserId,
};
use futures_util::future::join_all;
use infra_diesel::Database;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use test_support::{TestDatabase, database_test};

use crate::helpers::{after, now, open, page, post, user};

/// Inserts posts directly into the table; every `private`th is private.
async fn import(db: &TestDatabase, author: UserId, count: i64, private: i64) {
    db.execute(&format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
         INSERT INTO posts (user_id, content, is_private, created_at)
         SELECT {}, 'imported', n % {private} = 0, '2026-01-01 00:00:00+00:00' FROM numbers",
        author.0
    ))
    .await;
}

/// Returns the posts that `viewer` may see, newest first, read directly from the table.
async fn walk(db: &TestDatabase, viewer: UserId) -> Vec<i64> {
    let expected = format!("NOT is_private OR user_id = {}", viewer.0);
    db.numbers(&format!("SELECT id AS number FROM posts WHERE {expected} ORDER BY id DESC")).await
}

/// Compares pages by number with the walk: the last pages and some random ones.
async fn assert_pages_equal_walk(db: &TestDatabase, on: &Database, viewer: UserId, random: &mut StdRng) {
    let all = walk(db, viewer).await;
    for round in 0..12 {
        let size = random.random_range(1..=100);
        let number =
            if round < 3 { all.len() / size + round } else { random.random_range(1..=all.len() / size + 1) };
        let request = page(number.max(1) as i64, size as i64);
        let found = on.posts.list(viewer, None, request).await.unwrap();
        let from = all.len().min((number.max(1) - 1) * size);
        let expected = &all[from..all.len().min(from + size)];
        let ids: Vec<i64> = found.items.iter().map(|post| post.id.0).collect();
        assert_eq!(ids, expected, "page {number} of {size} for {viewer:?}, {} posts", all.len());
        assert_eq!(found.next.is_some(), from + size < all.len(), "page {number} of {size}");
    }
}

/// In one snapshot, the buckets whose counts and changes differ from their posts.
const WRONG: &str = "
    SELECT sum(posts) AS number FROM (
      SELECT owner_id, bucket, posts FROM feed_buckets UNION ALL SELECT owner_id, bucket, change FROM feed_changes
      UNION ALL SELECT CASE WHEN is_private THEN user_id ELSE 0 END, id >> 11, -1 FROM posts
      UNION ALL SELECT -1, 0, posts FROM feed_total
      UNION ALL SELECT -1, 0, change FROM feed_changes WHERE owner_id = 0
      UNION ALL SELECT -1, 0, -1 FROM posts WHERE NOT is_private) AS parts
    GROUP BY owner_id, bucket HAVING sum(posts) <> 0";

/// Makes a public post private, or a private one public.
async fn switch(on: &Database, id: i64, author: UserId) {
    let Some(post) = on.posts.find(PostId(id), author).await.unwrap() else { return };
    let expected = PostRevision { is_private: post.is_private, media: None };
    let change =
        PostChange { expected, content: None, media: None, is_private: Some(!post.is_private), at: now() };
    let done = on.posts.update(post.id, author, change).await.unwrap();
    assert!(!matches!(done, PostUpdate::Updated(changed) if changed.is_private == post.is_private));
}

#[database_test]
async fn deep_pages_equal_a_walk_while_posts_change(db: TestDatabase) {
    let on = open(&db).await;
    let mut random = StdRng::seed_from_u64(7);
    let (ann, bob, eve) = (user(&on, "ann", 1).await, user(&on, "bob", 2).await, user(&on, "eve", 3).await);
    import(&db, ann, 5_000, 1_000_000).await;
    import(&db, bob, 2_000, 10).await;
    // Most posts of Eve are private.
    import(&db, eve, 5_500, 2).await;
    for round in 0..10 {
        let ids = walk(&db, ann).await;
        for _ in 0..8 {
            let id = ids[random.random_range(0..ids.len())];
            match random.random_range(0..4) {
                0 => drop(post(&on, eve, "new", false).await),
                1 => drop(post(&on, ann, "new", true).await),
                2 => switch(&on, id, ann).await,
                _ => drop(on.posts.delete(PostId(id), ann, now()).await.unwrap()),
            }
        }
        let command = match round {
            2 => format!("DELETE FROM posts WHERE user_id = {} AND id % 3 > 0", ann.0),
            6 => format!("UPDATE posts SET is_private = NOT is_private WHERE user_id = {}", eve.0),
            8 => format!("DELETE FROM users WHERE id = {}", bob.0),
            _ => "DELETE FROM posts WHERE false".to_owned(),
        };
        db.execute(&command).await;
        if round % 2 == 0 {
            on.maintenance.count_feed_changes().await.unwrap();
            on.maintenance.check_feed_index().await.unwrap();
        }
        for viewer in [ann, eve, UserId(-1)] {
            assert_pages_equal_walk(&db, &on, viewer, &mut random).await;
        }
        assert!(db.numbers(WRONG).await.is_empty());
    }
}

#[database_test]
async fn wrong_feed_counts_are_detected_and_corrected(db: TestDatabase) {
    let on = open(&db).await;
    let ann = user(&on, "ann", 1).await;
    import(&db, ann, 4_500, 7).await;
    // A restored copy whose triggers ran twice, one without its counts, and one that has lost a part of them.
    for fault in [
        "UPDATE feed_buckets SET posts = posts + 3",
        "DELETE FROM feed_buckets",
        "UPDATE feed_total SET posts = posts - 1",
        "DELETE FROM feed_total",
    ] {
        on.maintenance.count_feed_changes().await.unwrap();
        db.execute(fault).await;
        on.maintenance.check_feed_index().await.unwrap_err();
        assert!(db.numbers(WRONG).await.is_empty(), "{fault}");
        on.maintenance.check_feed_index().await.unwrap();
        assert_pages_equal_walk(&db, &on, ann, &mut StdRng::seed_from_u64(5)).await;
    }
}

/// Compares every page of 100, by number and by cursor, with the walk.
async fn assert_all_pages_equal_walk(db: &TestDatabase, on: &Database, viewer: UserId) {
    let all = walk(db, viewer).await;
    let mut cursor = page(1, 100);
    for (number, expected) in (1..).zip(all.chunks(100)) {
        let by_number = on.posts.list(viewer, None, page(number, 100)).await.unwrap();
        let by_cursor = on.posts.list(viewer, None, cursor).await.unwrap();
        for found in [&by_number.items, &by_cursor.items] {
            let ids: Vec<i64> = found.iter().map(|post| post.id.0).collect();
            assert_eq!(ids, expected, "page {number} for {viewer:?}, {} posts", all.len());
        }
        if by_cursor.next.is_some() {
            cursor = after(by_cursor.next, 100);
        }
    }
}

#[database_test]
async fn feed_counts_are_exact_during_concurrent_changes(db: TestDatabase) {
    let on = Arc::new(open(&db).await);
    let mut authors = Vec::new();
    for (name, id) in [("ann", 1), ("bob", 2), ("eve", 3)] {
        let author = user(&*on, name, id).await;
        import(&db, author, 1_500, 50).await;
        authors.push(author);
    }
    let (is_done, looked) = (AtomicBool::new(false), AtomicU64::new(0));
    // Two processes move changes to the counts.
    let count = async || {
        while !is_done.load(Ordering::Relaxed) {
            on.maintenance.count_feed_changes().await.unwrap();
            on.maintenance.check_feed_index().await.unwrap();
        }
    };
    let looking = async {
        while !is_done.load(Ordering::Relaxed) {
            assert!(db.numbers(WRONG).await.is_empty());
            let far = on.posts.list(authors[0], None, page(30, 100)).await.unwrap();
            let next = on.posts.list(authors[0], None, after(far.next, 100)).await.unwrap();
            let ids: Vec<_> = far.items.iter().chain(&next.items).map(|post| post.id.0).collect();
            assert!(ids.len() == 200 && ids.windows(2).all(|pair| pair[0] > pair[1]), "{ids:?}");
            looked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let writing = async {
        for round in 0..3 {
            let change = async |salt: usize| {
                let (author, mut random) =
                    (authors[salt % 3], StdRng::seed_from_u64((round * 200 + salt) as u64));
                let id = random.random_range(1..=4_500);
                match random.random_range(0..3) {
                    0 => drop(post(&*on, author, "new", false).await),
                    1 => switch(&on, id, author).await,
                    _ => drop(on.posts.delete(PostId(id), author, now()).await.unwrap()),
                }
            };
            join_all((0..200).map(change)).await;
            for viewer in &authors {
                assert_all_pages_equal_walk(&db, &on, *viewer).await;
            }
        }
        is_done.store(true, Ordering::Relaxed);
    };
    tokio::join!(writing, looking, count(), count());
    assert!(looked.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_inserted_while_the_feed_is_counted_anew_are_counted() {
    let db = TestDatabase::postgres().await;
    let on = open(&db).await;
    let ann = user(&on, "ann", 1).await;
    import(&db, ann, 5_000, 1_000_000).await;
    on.maintenance.count_feed_changes().await.unwrap();
    db.execute("UPDATE feed_total SET posts = 0").await;
    // Its post is not visible to the recount, and commits after it.
    let mut client = db.client().await;
    let transaction = client.transaction().await.unwrap();
    let insert = "INSERT INTO posts (user_id, content, is_private, created_at) VALUES (1, 'x', false, now())";
    transaction.batch_execute(insert).await.unwrap();
    on.maintenance.check_feed_index().await.unwrap_err();
    transaction.commit().await.unwrap();
    assert!(db.numbers(WRONG).await.is_empty());
    assert_eq!(on.posts.list(ann, None, page(1, 1)).await.unwrap().total, 5_001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_table_has_an_empty_feed_index() {
    let db = TestDatabase::postgres().await;
    let on = open(&db).await;
    let ann = user(&on, "ann", 1).await;
    import(&db, ann, 1_500, 9).await;
    on.maintenance.count_feed_changes().await.unwrap();
    db.execute("TRUNCATE posts CASCADE").await;
    assert!(db.numbers(WRONG).await.is_empty());
    assert!(db.numbers("SELECT posts AS number FROM feed_buckets").await.is_empty());
}
