//! Deletions of very many rows, which are done in steps.

use domain::{
    posts::{PostId, PostView},
    users::UserId,
};
use futures_util::future::join_all;
use infra_diesel::Database;
use test_support::{TestDatabase, database_test};

use crate::helpers::{now, open, page, post, user};

/// Two and a half steps.
const MANY: i64 = 2_500;

const NUMBERS: &str = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2500)";

/// Adds likes with notifications, and comments of the author, to a post.
async fn make_popular(db: &TestDatabase, post: &PostView) {
    let (PostId(post), UserId(author)) = (post.id, post.author);
    db.execute(&format!(
        "INSERT INTO users (username, email, password_hash, created_at)
           {NUMBERS} SELECT 'fan' || x, 'fan' || x, '', (SELECT min(created_at) FROM users) FROM n;
         INSERT INTO user_counters (user_id) SELECT id FROM users WHERE username LIKE 'fan%';
         INSERT INTO likes (post_id, user_id, created_at)
           SELECT {post}, id, created_at FROM users WHERE username LIKE 'fan%';
         INSERT INTO notifications (recipient_id, actor_id, kind, post_id, is_read, created_at)
           SELECT {author}, id, 'like', {post}, id % 3 = 0, created_at FROM users WHERE username LIKE 'fan%';
         INSERT INTO comments (post_id, user_id, content, created_at)
           SELECT {post}, {author}, 'x', created_at FROM users WHERE username LIKE 'fan%';
         UPDATE posts SET likes_count = {MANY}, comments_count = {MANY} WHERE id = {post};
         UPDATE user_counters SET notifications = notifications + {MANY},
           unread = (SELECT count(*) FROM notifications WHERE recipient_id = {author} AND NOT is_read)
         WHERE user_id = {author}"
    ))
    .await;
}

async fn left(db: &TestDatabase, table: &str, post: PostId) -> i64 {
    db.number(&format!("SELECT count(*) FROM {table} WHERE post_id = {}", post.0)).await
}

async fn assert_gone(db: &Database, post: PostId, viewers: &[UserId]) {
    for viewer in viewers {
        assert_eq!(db.posts.find(post, *viewer).await.unwrap(), None);
        assert!(db.comments.list(post, Some(*viewer), page(1, 10)).await.unwrap().is_none());
        assert!(db.posts.like(post, *viewer, now()).await.unwrap().is_none());
        assert!(db.posts.unlike(post, *viewer).await.unwrap().is_none());
    }
}

#[database_test]
async fn post_with_very_many_likes_vanishes_at_once_and_they_follow_in_steps(database: TestDatabase) {
    let db = open(&database).await;
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let (popular, other) = (post(&db, ann, "popular", false).await, post(&db, ann, "other", false).await);
    for post in [&popular, &other] {
        db.posts.like(post.id, bob, now()).await.unwrap();
    }
    make_popular(&database, &popular).await;
    database
        .execute(&format!("UPDATE posts SET likes_count = {} WHERE id = {}", MANY + 1, popular.id.0))
        .await;
    database.agrees().await;

    assert!(db.posts.delete(popular.id, ann, now()).await.unwrap());
    assert_gone(&db, popular.id, &[ann, bob]).await;
    for table in ["likes", "comments", "notifications"] {
        let left = left(&database, table, popular.id).await;
        assert!((MANY - 1_000..=MANY - 999).contains(&left), "{left} {table}");
    }
    // Counters equal their rows after each step.
    let counted = "SELECT notifications * 10000 + unread FROM user_counters ORDER BY user_id LIMIT 1";
    let rows = format!(
        "SELECT count(*) * 10000 + coalesce(sum(CASE WHEN is_read THEN 0 ELSE 1 END), 0) FROM notifications
         WHERE recipient_id = {}",
        ann.0
    );
    assert_eq!(database.number(counted).await, database.number(&rows).await);
    assert!(db.maintenance.delete_remains().await.unwrap());
    assert_eq!(left(&database, "likes", popular.id).await, MANY - 1_999);
    assert_eq!(database.number(counted).await, database.number(&rows).await);

    // The process ends here, and another one goes on.
    drop(db);
    let db = open(&database).await;
    assert!(db.maintenance.delete_remains().await.unwrap());
    assert!(!db.maintenance.delete_remains().await.unwrap());
    for table in ["likes", "comments", "notifications", "deleted_posts"] {
        assert_eq!(left(&database, table, popular.id).await, 0, "{table}");
    }
    assert_eq!(left(&database, "likes", other.id).await, 1);
    assert_gone(&db, popular.id, &[ann, bob]).await;
    database.agrees().await;
}

#[database_test]
async fn likes_during_a_deletion_leave_nothing(database: TestDatabase) {
    let db = open(&database).await;
    let ann = user(&db, "ann", 1).await;
    let mut fans = Vec::new();
    for n in 0..12 {
        fans.push(user(&db, &format!("fan_{n}"), n + 2).await);
    }
    for _ in 0..5 {
        let post = post(&db, ann, "short-lived", false).await;
        let likes = join_all(fans.iter().map(|fan| db.posts.like(post.id, *fan, now())));
        let (likes, deleted) = tokio::join!(likes, db.posts.delete(post.id, ann, now()));
        assert!(deleted.unwrap());
        assert!(likes.iter().all(Result::is_ok));
        while db.maintenance.delete_remains().await.unwrap() {}
        for table in ["likes", "notifications", "deleted_posts"] {
            assert_eq!(left(&database, table, post.id).await, 0, "{table}");
        }
    }
    database.agrees().await;
}

/// A trigger counts the rows of each statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_deletes_more_than_a_step() {
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    let ann = user(&db, "ann", 1).await;
    let post = post(&db, ann, "popular", false).await;
    make_popular(&database, &post).await;
    database
        .execute(
            "CREATE FUNCTION refuse_many() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                IF (SELECT count(*) FROM gone) > 1000 THEN RAISE EXCEPTION 'too many rows'; END IF;
                RETURN NULL;
             END $$",
        )
        .await;
    for table in
        ["likes", "comments", "notifications", "sessions", "registrations", "mail_outbox", "username_holds"]
    {
        database
            .execute(&format!(
                "CREATE TRIGGER refuse_many AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone
                 FOR EACH STATEMENT EXECUTE FUNCTION refuse_many()"
            ))
            .await;
    }
    let past = "now() - interval '1 year'";
    database
        .execute(&format!(
            "INSERT INTO sessions (id, user_id, refresh_id, refreshed_at, created_at, ends_at)
               {NUMBERS} SELECT 1000 + x, {}, '', {past}, {past}, {past} FROM n;
             INSERT INTO registrations (username, email, password_hash, created_at)
               {NUMBERS} SELECT 'r' || x, 'r' || x, '', {past} FROM n;
             INSERT INTO mail_outbox (intent, email, created_at) {NUMBERS} SELECT 'reset', 'r' || x, {past} FROM n;
             INSERT INTO username_holds {NUMBERS} SELECT 'r' || x, 'r' || x, {past} FROM n",
            ann.0
        ))
        .await;
    assert!(db.posts.delete(post.id, ann, now()).await.unwrap());
    while db.maintenance.delete_remains().await.unwrap() {}
    let deleted = db.maintenance.delete_expired(now() - chrono::TimeDelta::days(1)).await.unwrap();
    assert_eq!(deleted, u64::try_from(4 * MANY).unwrap());
    database.agrees().await;
}
