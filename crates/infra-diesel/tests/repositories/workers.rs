//! HTTP workers have their own share of the connections to PostgreSQL.

use std::time::Duration;

use domain::users::UserId;
use futures_util::future::join_all;
use infra_diesel::{Database, DatabaseConfig, DatabaseUrl};
use test_support::TestDatabase;

use crate::helpers::{now, open, page, post, user};

async fn connect(db: &TestDatabase, connections: usize, workers: usize) -> Database {
    let url = DatabaseUrl::parse(db.url()).unwrap();
    let timeout = Duration::from_secs(20);
    let config = DatabaseConfig { url, replica: None, connections, workers, timeout };
    infra_diesel::connect(&config).await.unwrap()
}

/// Reads and writes more at once than a worker has connections.
async fn use_it(database: &Database, user: UserId) {
    let post = post(database, user, "hello", false).await;
    let work = (0..50).map(async |_| {
        database.posts.like(post.id, user, now()).await.unwrap().unwrap();
        database.posts.list(user, None, page(1, 10)).await.unwrap();
        database.notifications.mark_all_read(user).await.unwrap();
    });
    join_all(work).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_connections_and_give_them_back() {
    let db = TestDatabase::postgres().await;
    let ann = user(&open(&db).await, "ann", 1).await;
    let main = connect(&db, 11, 3).await;
    for _ in 0..2 {
        // Each on a thread with a runtime of its own, as in the server.
        let workers: Vec<_> = (0..3).map(|_| main.for_worker().unwrap()).collect();
        assert!(main.for_worker().is_none(), "there are shares for three workers only");
        let threads: Vec<_> = workers
            .into_iter()
            .map(|worker| {
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(use_it(&worker, ann));
                    worker
                })
            })
            .collect();
        use_it(&main, ann).await;
        let workers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let state = (main.pools)()[0];
        assert!((8..=11).contains(&state.open), "{state:?}");
        assert_eq!((workers[0].pools)()[0].open, state.open, "each handle shows all pools");
        assert_eq!((state.idle, state.waiting), (state.open, 0));
        drop(workers);
        assert!((1..=5).contains(&(main.pools)()[0].open));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_use_the_main_pool_if_connections_are_few() {
    let db = TestDatabase::postgres().await;
    open(&db).await;
    let main = connect(&db, 7, 3).await;
    assert!(main.for_worker().is_none());
    let ann = user(&main, "ann", 1).await;
    use_it(&main, ann).await;
    assert!((main.pools)()[0].open <= 7);
}
