//! Reads share PostgreSQL connections.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use domain::posts::{PostRepository, PostView};
use futures_util::future::join_all;
use infra_diesel::{Database, DatabaseConfig, DatabaseUrl};
use test_support::TestDatabase;

use crate::helpers::{post, user};

/// Connects with this many connections, half of which serve reads, and creates a post.
async fn scene(db: &TestDatabase, connections: usize, author: &str) -> (Database, PostView) {
    let url = DatabaseUrl::parse(db.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let timeout = Duration::from_secs(20);
    let config = DatabaseConfig { url, replica: None, connections, workers: 0, timeout };
    let repositories = infra_diesel::connect(&config).await.unwrap();
    let author = user(&repositories, author, connections.try_into().unwrap()).await;
    let hello = post(&repositories, author, "hello", false).await;
    (repositories, hello)
}

/// Reads `post` this many times in sequence, and returns how often that failed.
async fn read(posts: &dyn PostRepository, post: &PostView, times: usize) -> usize {
    let mut failed = 0;
    for _ in 0..times {
        match posts.find(post.id, post.author).await {
            Ok(found) => assert_eq!(found.as_ref(), Some(post)),
            Err(_) => failed += 1,
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_reads_share_few_connections_and_wait_for_no_writer() {
    let db = TestDatabase::postgres().await;
    let (repositories, hello) = scene(&db, 6, "ann").await;
    let posts = &*repositories.posts;
    // More reads than connections; meanwhile, a writer holds a connection and waits for a row.
    let mut locking = db.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM posts FOR UPDATE", &[]).await.unwrap();
    let liking = posts.like(hello.id, hello.author, hello.created_at);
    let reading = async {
        let failed: usize = join_all((0..200).map(|_| read(posts, &hello, 2))).await.into_iter().sum();
        assert_eq!(failed, 0);
        let open = db.number(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT \"posts\".\"id\"%'",
        );
        let open = open.await;
        assert!((1..=3).contains(&open), "{open} connections were read from");
        lock.commit().await.unwrap();
    };
    let (liked, ()) = tokio::join!(liking, reading);
    assert!(liked.unwrap().unwrap().is_new);
    assert_eq!((repositories.pools)()[0].waiting, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connection_is_replaced_under_constant_load() {
    let db = TestDatabase::postgres().await;
    let (repositories, hello) = scene(&db, 4, "ann").await;
    let posts = &*repositories.posts;
    for _ in 0..3 {
        let reading = join_all((0..8).map(|_| read(posts, &hello, 100)));
        let lost = db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        let (failed, ()) = tokio::join!(reading, lost);
        let failed: usize = failed.into_iter().sum();
        // Reads in flight, and those sent before the first one failed.
        assert!(failed <= 40, "{failed} of 800 reads failed");
        assert_eq!(join_all((0..8).map(|_| read(posts, &hello, 10))).await, [0; 8]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_not_starved_by_constant_reads() {
    let db = TestDatabase::postgres().await;
    for connections in [1, 2, 3] {
        let (repositories, hello) = scene(&db, connections, &format!("ann{connections}")).await;
        let posts = &*repositories.posts;
        let done = AtomicBool::new(false);
        let reading = join_all((0..8).map(async |_| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(read(posts, &hello, 1).await, 0);
            }
        }));
        let marking = async {
            for _ in 0..20 {
                repositories.notifications.mark_all_read(hello.author).await.unwrap();
            }
            done.store(true, Ordering::Relaxed);
        };
        tokio::join!(reading, marking);
    }
}
