//! `/livez` and `/readyz`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use domain::health::{Backlog, HealthRepository};
use futures_util::future::join_all;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

#[database_test]
async fn livez_and_readyz_return_ok(db: TestDatabase) {
    let server = Server::start(&db).await;
    assert_eq!(server.get("/livez", None).await.ok(), json!({"status": "ok"}));
    assert_eq!(server.get("/readyz", None).await.ok(), json!({"status": "ok"}));
}

/// Counts the checks, which fail.
struct Counting(Arc<AtomicUsize>);

#[async_trait]
impl HealthRepository for Counting {
    async fn check(&self) -> domain::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Err(domain::Error::unavailable("no database"))
    }

    async fn backlog(&self) -> domain::Result<Backlog> {
        Err(domain::Error::unavailable("no database"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_readiness_share_a_check() {
    let (db, checks) = (TestDatabase::sqlite().await, Arc::new(AtomicUsize::new(0)));
    let health = Arc::new(Counting(checks.clone()));
    let server = Server::start_changed(&db, &[], |app| app.health = health).await;
    let responses = join_all((0..200).map(|_| server.get("/readyz", None))).await;
    for response in responses {
        assert_eq!(response.problem(), (503, "The service is temporarily unavailable"));
    }
    // One, or one per second on a slow machine.
    assert!(checks.load(Ordering::Relaxed) < 20, "{checks:?}");
}
