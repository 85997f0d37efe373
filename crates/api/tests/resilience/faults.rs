//! Panics, errors and lost connections behind the server.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    Error,
    health::{Backlog, HealthRepository},
};
use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{Response, Server};

const ORIGIN: &str = "http://localhost:5173";

/// Fails the check whether the database responds.
struct Failing(fn() -> domain::Result<()>);

#[async_trait]
impl HealthRepository for Failing {
    async fn backlog(&self) -> domain::Result<Backlog> {
        Err(Error::internal("no database"))
    }

    async fn check(&self) -> domain::Result<()> {
        self.0()
    }
}

async fn readiness(failing: fn() -> domain::Result<()>) -> Response {
    let db = TestDatabase::sqlite().await;
    let change = move |app: &mut api::state::AppState| app.health = Arc::new(Failing(failing));
    let server = Server::start_changed(&db, &[], change).await;
    let response = server.send(server.request(Method::GET, "/readyz").header("origin", ORIGIN)).await;
    assert_eq!(server.get("/livez", None).await.status, 200);
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(ORIGIN));
    assert!(!response.text().contains("hunter2"), "{}", response.text());
    response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_returns_500_with_cors_headers_and_no_details() {
    let response = readiness(|| panic!("the password is hunter2")).await;
    assert_eq!(response.problem(), (500, "Internal Server Error"));
    assert_eq!(response.json["code"], "internal_error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_dependency_returns_503_with_retry_after() {
    let response = readiness(|| Err(Error::unavailable("the password is hunter2"))).await;
    assert_eq!(response.problem(), (503, "The service is temporarily unavailable"));
    assert!(response.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

#[database_test]
async fn database_error_reveals_nothing_and_rolls_back(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = server.create_post(&ann, "hi", false).await;
    let comments = format!("/posts/{post}/comment");
    db.execute("ALTER TABLE notifications RENAME TO elsewhere").await;
    let response = server.post(&comments, &bob, json!({"content": "x"})).await;
    assert_eq!(response.problem(), (500, "Internal Server Error"));
    assert!(!response.text().contains("notifications"), "{}", response.text());
    db.execute("ALTER TABLE elsewhere RENAME TO notifications").await;
    assert_eq!(server.get(&comments, None).await.ok()["total"], 0);
    assert_eq!(server.post(&comments, &bob, json!({"content": "x"})).await.status, 200);
    db.agrees().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_replaced() {
    let db = TestDatabase::postgres().await;
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..3 {
        db.execute(others).await;
        let mut responses = 0;
        // Each connection of the pool may fail once, with a response that allows a retry.
        while responses < 8 {
            let response = server.post("/posts/", &ann, json!({"content": "hi"})).await;
            assert!([200, 503].contains(&response.status), "{}", response.text());
            responses += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.post("/posts/", &ann, json!({"content": "hi"})).await.status, 200);
    }
    db.agrees().await;
}
