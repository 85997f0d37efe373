//! Deep pages of the feed, which the feed index finds by buckets of counted posts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    posts::{NewPost, PostChange, PostContent, PostId, PostRevision, PostUpdate},
    users::UserId,
};
use infra_diesel::Database;
use test_support::{TestDatabase, database_test};

use crate::helpers::{now, open, page, post, user};

/// Pseudorandom numbers, the same in every run.
struct Random(u64);

impl Random {
    /// Returns a number in `0..bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Inserts posts directly into the table, as an import would: the first is `from` seconds old, each next one `apart`
/// seconds older; every `private`th is private.
async fn import(db: &TestDatabase, author: UserId, count: i64, from: i64, apart: i64, private: i64) {
    let second = now().timestamp() - from;
    let at = if db.url().starts_with("sqlite") {
        format!("strftime('%Y-%m-%d %H:%M:%S+00:00', {second} - n * {apart}, 'unixepoch')")
    } else {
        format!("to_timestamp({second} - n * {apart})")
    };
    let insert = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
         INSERT INTO posts (user_id, author_name, content, is_private, created_at)
         SELECT {}, 'ann', 'imported', n % {private} = 0, {at} FROM numbers",
        author.0
    );
    db.execute(&insert).await;
}

/// Returns the posts that `viewer` may see, newest first, read directly from the table.
async fn walk(db: &TestDatabase, viewer: UserId) -> Vec<i64> {
    let expected = format!("NOT is_private OR user_id = {}", viewer.0);
    db.numbers(&format!("SELECT id AS number FROM posts WHERE {expected} ORDER BY created_at DESC, id DESC"))
        .await
}

/// Compares pages by number with the walk: the last pages and some random ones.
async fn assert_pages_equal_walk(db: &TestDatabase, on: &Database, viewer: UserId, random: &mut Random) {
    let all = walk(db, viewer).await;
    for round in 0..12 {
        let size = 1 + random.below(100);
        let number =
            if round < 3 { all.len() / size + round } else { 1 + random.below(all.len() / size + 1) };
        let request = page((number.max(1)) as i64, size as i64);
        let found = on.posts.list(viewer, None, request).await.unwrap();
        let from = all.len().min((number.max(1) - 1) * size);
        let expected = &all[from..all.len().min(from + size)];
        let ids: Vec<i64> = found.items.iter().map(|post| post.id.0).collect();
        assert_eq!(ids, expected, "page {number} of {size} for {viewer:?}, {} posts", all.len());
        assert_eq!(found.next.is_some(), from + size < all.len(), "page {number} of {size}");
    }
}

/// Counts, in one snapshot, the buckets whose counts differ from the rows in their range.
const WRONG_BUCKETS: &str = "
    SELECT posts AS number FROM (SELECT created_at, id, posts,
      lag(created_at) OVER (ORDER BY created_at, id) AS older_at, lag(id) OVER (ORDER BY created_at, id) AS older_id
      FROM post_blocks) AS b
    WHERE posts + (SELECT coalesce(sum(change), 0) FROM post_block_changes c
        WHERE (c.created_at, c.id) <= (b.created_at, b.id)
          AND (b.older_at IS NULL OR (c.created_at, c.id) > (b.older_at, b.older_id)))
      <> (SELECT count(*) FROM posts p WHERE NOT p.is_private AND (p.created_at, p.id) <= (b.created_at, b.id)
          AND (b.older_at IS NULL OR (p.created_at, p.id) > (b.older_at, b.older_id)))";

/// Pending changes of buckets.
const CHANGES: &str = "SELECT change AS number FROM post_block_changes WHERE (created_at, id)
    <= (SELECT created_at, id FROM post_blocks ORDER BY created_at DESC, id DESC LIMIT 1)";

async fn maintain(on: &Database) {
    while on.maintenance.maintain_feed_index().await.unwrap() {}
}

async fn add(on: &Database, author: UserId, is_private: bool, at: DateTime<Utc>) -> PostId {
    let content = PostContent::parse("added").unwrap();
    on.posts.insert(NewPost { author, content, media: None, is_private, at }).await.unwrap().id
}

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
    let mut random = Random(7);
    let (ann, bob, eve) = (user(&on, "ann", 1).await, user(&on, "bob", 2).await, user(&on, "eve", 3).await);
    import(&db, ann, 5_000, 3_600, 7, 1_000_000).await;
    // Several posts per second, so that ids break ties. Most posts of Eve are private.
    import(&db, bob, 2_000, 4_000, 0, 10).await;
    import(&db, eve, 2_500, 3_700, 11, 2).await;
    for round in 0..10 {
        let ids = walk(&db, ann).await;
        for _ in 0..8 {
            let id = ids[random.below(ids.len())];
            let seconds = i64::try_from(3_600 + random.below(40_000)).unwrap();
            match random.below(4) {
                0 => drop(add(&on, eve, false, now() - TimeDelta::seconds(seconds)).await),
                1 => drop(add(&on, ann, true, now()).await),
                2 => switch(&on, id, ann).await,
                _ => drop(on.posts.delete(PostId(id), ann, now()).await.unwrap()),
            }
        }
        match round {
            2 => db.execute(&format!("DELETE FROM posts WHERE user_id = {} AND id % 3 > 0", ann.0)).await,
            4 => import(&db, eve, 3_500, 9_000, 0, 100).await,
            6 => {
                db.execute(&format!(
                    "UPDATE posts SET is_private = NOT is_private WHERE user_id = {}",
                    eve.0
                ))
                .await;
            }
            8 => db.execute(&format!("DELETE FROM users WHERE id = {}", bob.0)).await,
            _ => {}
        }
        for _ in 0..random.below(4) {
            on.maintenance.maintain_feed_index().await.unwrap();
        }
        for viewer in [ann, eve, UserId(-1)] {
            assert_pages_equal_walk(&db, &on, viewer, &mut random).await;
        }
        assert!(db.numbers(WRONG_BUCKETS).await.is_empty());
    }
    maintain(&on).await;
    assert_pages_equal_walk(&db, &on, eve, &mut random).await;
}

#[database_test]
async fn feed_index_buckets_are_bounded_in_size_and_number(db: TestDatabase) {
    let on = open(&db).await;
    let (ann, bob) = (user(&on, "ann", 1).await, user(&on, "bob", 2).await);
    import(&db, ann, 25_300, 3_600, 5, 1_000_000).await;
    maintain(&on).await;
    let buckets = "SELECT posts AS number FROM post_blocks ORDER BY created_at";
    assert_eq!(db.numbers(buckets).await, vec![1_000; 25]);
    // All of them within one bucket.
    import(&db, bob, 23_000, 60_000, 0, 1_000_000).await;
    maintain(&on).await;
    let found = db.numbers(buckets).await;
    assert_eq!(found.iter().sum::<i64>(), 48_000);
    assert!(found.len() >= 48 - 2 && found.iter().all(|posts| *posts <= 2_000), "{found:?}");
    db.execute("DELETE FROM posts WHERE id % 10 > 0").await;
    maintain(&on).await;
    let found = db.numbers(buckets).await;
    assert!(found.windows(2).all(|pair| pair[0] + pair[1] > 1_000), "{found:?}");
    assert!(db.numbers(CHANGES).await.is_empty());
    assert!(db.numbers(WRONG_BUCKETS).await.is_empty());
}

#[database_test]
async fn wrong_feed_index_buckets_are_detected_and_rebuilt(db: TestDatabase) {
    let on = open(&db).await;
    let ann = user(&on, "ann", 1).await;
    import(&db, ann, 4_500, 3_600, 1, 1_000_000).await;
    maintain(&on).await;
    // A restored copy whose triggers ran twice looks like this.
    db.execute("UPDATE post_blocks SET posts = posts + 3").await;
    on.maintenance.maintain_feed_index().await.unwrap_err();
    assert_pages_equal_walk(&db, &on, ann, &mut Random(5)).await;
    maintain(&on).await;
    assert_eq!(db.numbers("SELECT posts AS number FROM post_blocks").await, vec![1_000; 4]);
    assert_pages_equal_walk(&db, &on, ann, &mut Random(5)).await;
}

#[database_test]
async fn new_posts_leave_the_feed_index_unchanged(db: TestDatabase) {
    let on = open(&db).await;
    let ann = user(&on, "ann", 1).await;
    import(&db, ann, 1_500, 3_600, 1, 1_000_000).await;
    maintain(&on).await;
    let all = "SELECT change AS number FROM post_block_changes";
    let before = db.numbers(all).await;
    let new = post(&on, ann, "new", false).await;
    switch(&on, new.id.0, ann).await;
    on.posts.delete(new.id, ann, now()).await.unwrap();
    assert_eq!(db.numbers(all).await, before);
    let late = add(&on, ann, false, now() - TimeDelta::seconds(4_500)).await;
    on.posts.like(late, ann, now()).await.unwrap();
    assert_eq!(db.numbers(CHANGES).await, [1]);
    switch(&on, late.0, ann).await;
    assert_eq!(db.numbers(CHANGES).await, [1, -1]);
}

#[database_test]
async fn feed_index_is_consistent_during_concurrent_changes(db: TestDatabase) {
    let on = Arc::new(open(&db).await);
    let mut authors = Vec::new();
    for (name, id) in [("ann", 1), ("bob", 2), ("eve", 3)] {
        let author = user(&*on, name, id).await;
        import(&db, author, 1_500, 3_600, 3, 50).await;
        authors.push(author);
    }
    let writers: Vec<_> = authors
        .iter()
        .zip(1..)
        .map(|(author, salt)| {
            let (on, author, mut random) = (on.clone(), *author, Random(salt));
            tokio::spawn(async move {
                for _ in 0..120 {
                    let id = 1 + i64::try_from(random.below(4_500)).unwrap();
                    let late = TimeDelta::seconds(i64::try_from(3_600 + random.below(5_000)).unwrap());
                    match random.below(3) {
                        0 => drop(add(&on, author, false, now() - late).await),
                        1 => switch(&on, id, author).await,
                        _ => drop(on.posts.delete(PostId(id), author, now()).await.unwrap()),
                    }
                }
            })
        })
        .collect();
    let (is_done, looked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Two processes maintain the index.
    let tending = [(on.clone(), is_done.clone()), (on.clone(), is_done.clone())].map(|(on, is_done)| {
        tokio::spawn(async move {
            while !is_done.load(Ordering::Relaxed) {
                on.maintenance.maintain_feed_index().await.unwrap();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        })
    });
    let looking = async {
        while !is_done.load(Ordering::Relaxed) {
            assert!(db.numbers(WRONG_BUCKETS).await.is_empty());
            let far = on.posts.list(authors[0], None, page(30, 100)).await.unwrap().items;
            assert!(
                far.len() == 100
                    && far.windows(2).all(|pair| {
                        (pair[0].created_at, pair[0].id.0) > (pair[1].created_at, pair[1].id.0)
                    })
            );
            looked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let writing = async {
        for writer in writers {
            writer.await.unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
    };
    tokio::join!(writing, looking);
    for one in tending {
        one.await.unwrap();
    }
    assert!(looked.load(Ordering::Relaxed) > 0);
    maintain(&on).await;
    assert!(!db.numbers("SELECT posts AS number FROM post_blocks").await.is_empty());
    assert_pages_equal_walk(&db, &on, authors[1], &mut Random(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_table_has_an_empty_feed_index() {
    let db = TestDatabase::postgres().await;
    let on = open(&db).await;
    let ann = user(&on, "ann", 1).await;
    import(&db, ann, 1_500, 3_600, 1, 1_000_000).await;
    maintain(&on).await;
    db.execute("TRUNCATE posts CASCADE").await;
    let left = "SELECT posts AS number FROM post_blocks UNION ALL SELECT change FROM post_block_changes";
    assert!(db.numbers(left).await.is_empty());
}

/// A transaction may insert posts with its start time and commit much later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_newer_than_an_open_transaction_are_not_indexed_yet() {
    let db = TestDatabase::postgres().await;
    let on = open(&db).await;
    let ann = user(&on, "ann", 1).await;
    let buckets = "SELECT count(*) AS number FROM post_blocks";
    let mut client = db.client().await;
    let transaction = client.transaction().await.unwrap();
    let store = "INSERT INTO posts (user_id, author_name, content, is_private, created_at) VALUES (1, 'ann', 'x', false, now())";
    transaction.batch_execute(store).await.unwrap();
    // Posts are indexed after five minutes. These reach that age after the transaction began.
    import(&db, ann, 1_000, 5 * 60 - 2, 0, 1_000_000).await;
    let mut waits = 0;
    let young = "SELECT id AS number FROM posts WHERE created_at > now() - interval '302 s'";
    while !db.numbers(young).await.is_empty() {
        assert!(!on.maintenance.maintain_feed_index().await.unwrap());
        assert_eq!(db.numbers(buckets).await, [0]);
        tokio::time::sleep(Duration::from_millis(100)).await;
        waits += 1;
        assert!(waits < 600, "the clock does not advance");
    }
    on.maintenance.maintain_feed_index().await.unwrap();
    assert_eq!(db.numbers(buckets).await, [0]);
    transaction.commit().await.unwrap();
    let begun = Instant::now();
    while db.numbers(buckets).await == [0] {
        on.maintenance.maintain_feed_index().await.unwrap();
        assert!(begun.elapsed() < Duration::from_mins(1), "the posts are never indexed");
    }
}
