use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use domain::{
    comments::{CommentContent, NewComment},
    users::UserSummary,
};
use infra_diesel::{DatabaseConfig, DatabaseError, DatabaseUrl};
use test_support::{TestDatabase, database_test};

use crate::helpers::{now, open, page, post, user};

#[database_test]
async fn migrate_lists_and_applies_pending_migrations(db: TestDatabase) {
    let url = DatabaseUrl::parse(db.url()).unwrap();
    assert!(!infra_diesel::schema_state(&url).await.unwrap().is_current());
    let announced = infra_diesel::migrate(&url, true).await.unwrap();
    assert!(!announced.is_empty());
    assert_eq!(infra_diesel::schema_state(&url).await.unwrap().pending(), announced);
    assert_eq!(infra_diesel::migrate(&url, false).await.unwrap(), announced);
    assert!(infra_diesel::schema_state(&url).await.unwrap().is_current());
    assert!(infra_diesel::migrate(&url, false).await.unwrap().is_empty());
    open(&db).await.health.check().await.unwrap();
}

#[database_test]
async fn renamed_user_is_renamed_everywhere(db: TestDatabase) {
    let repositories = open(&db).await;
    let (ann, bob) = (user(&repositories, "ann", 1).await, user(&repositories, "bob", 2).await);
    let post = post(&repositories, ann, "hi", false).await;
    let content = CommentContent::parse("well").unwrap();
    let comment = NewComment { post: post.id, author: ann, content, at: now() };
    repositories.comments.insert(comment).await.unwrap();
    repositories.follows.follow(ann, bob, now()).await.unwrap();
    repositories.follows.follow(bob, ann, now()).await.unwrap();
    // The lists know the old name.
    assert_eq!(repositories.follows.list_followers(bob, page(1, 10)).await.unwrap().unwrap().items.len(), 1);
    db.execute(&format!("UPDATE users SET username = 'Anna' WHERE id = {}", ann.0)).await;
    repositories.maintenance.forget_changed_users(now()).await.unwrap();
    let followers = repositories.follows.list_followers(bob, page(1, 10)).await.unwrap().unwrap();
    let following = repositories.follows.list_following(bob, page(1, 10)).await.unwrap().unwrap();
    let profile = repositories.accounts.find_profile(bob).await.unwrap().unwrap();
    for list in [followers.items, following.items, profile.followers, profile.following] {
        assert_eq!(list, [UserSummary { id: ann, username: "Anna".to_owned() }]);
    }
    assert_eq!(repositories.posts.find(post.id, bob).await.unwrap().unwrap().author_username, "Anna");
    let comments = repositories.comments.list(post.id, None, page(1, 10)).await.unwrap().unwrap();
    assert_eq!(comments.items[0].author_username, "Anna");
    let notifications = repositories.notifications.list(bob, false, page(1, 10)).await.unwrap();
    assert_eq!(notifications.page.items[0].message(), "Anna started following you");
    let others = repositories.follows.list_followers(ann, page(1, 10)).await.unwrap().unwrap().items;
    assert_eq!(others, [UserSummary { id: bob, username: "bob".to_owned() }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_server_on_one_sqlite_file_is_rejected() {
    let db = TestDatabase::sqlite().await;
    let first = open(&db).await;
    let url = DatabaseUrl::parse(db.url()).unwrap();
    let config = DatabaseConfig {
        url,
        replica: None,
        connections: 1,
        workers: 0,
        timeout: std::time::Duration::from_secs(1),
    };
    assert!(matches!(infra_diesel::connect(&config).await, Err(DatabaseError::InUse)));
    drop(first);
    assert!(infra_diesel::connect(&config).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_migrations_of_one_postgres_succeed() {
    let db = TestDatabase::postgres().await;
    let url = DatabaseUrl::parse(db.url()).unwrap();
    let runs = (0..4).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { infra_diesel::migrate(&url, false).await.unwrap().len() })
    });
    let mut applied = Vec::new();
    for run in runs.collect::<Vec<_>>() {
        applied.push(run.await.unwrap());
    }
    applied.sort_unstable();
    assert_eq!(applied[..3], [0, 0, 0]);
    assert!(applied[3] > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_lock_is_released_while_the_process_starts_others() {
    let db = TestDatabase::sqlite().await;
    let url = DatabaseUrl::parse(db.url()).unwrap();
    let is_done = AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        let migrate = || tokio::runtime::Handle::current().block_on(infra_diesel::migrate(&url, false));
        let refused = tokio::task::block_in_place(|| (0..200).filter(|_| migrate().is_err()).count());
        is_done.store(true, Ordering::Relaxed);
        refused
    });
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_are_deleted_with_their_subject() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let (ann, bob) = (user(&repositories, "ann", 1).await, user(&repositories, "bob", 2).await);
    let cleo = user(&repositories, "cleo", 3).await;
    let left = async || {
        while repositories.maintenance.delete_remains().await.unwrap() {}
        db.number("SELECT count(*) FROM notifications").await
    };
    let first = post(&repositories, ann, "first", false).await;
    for liked in [&first, &post(&repositories, ann, "second", false).await] {
        for by in [bob, cleo] {
            repositories.posts.like(liked.id, by, now()).await.unwrap();
        }
    }
    repositories.follows.follow(cleo, bob, now()).await.unwrap();
    assert_eq!(left().await, 5);
    db.execute(&format!("DELETE FROM posts WHERE id = {}", first.id.0)).await;
    assert_eq!(left().await, 3);
    // One that Bob received, and one that he caused.
    db.execute(&format!("DELETE FROM users WHERE id = {}", bob.0)).await;
    assert_eq!(left().await, 1);
    db.execute("TRUNCATE posts CASCADE").await;
    assert_eq!(left().await, 0);
    repositories.follows.follow(cleo, ann, now()).await.unwrap();
    db.execute("TRUNCATE users CASCADE").await;
    assert_eq!(left().await, 0);
}
