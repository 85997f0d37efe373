//! What clients see when something behind the server does not do as it should.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    Error,
    health::{Backlog, HealthRepository},
};
use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::helpers::{Answer, Server};

const ORIGIN: &str = "http://localhost:5173";

/// Fails when it is asked whether the database answers.
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

async fn readiness(failing: fn() -> domain::Result<()>) -> Answer {
    let db = TestDatabase::sqlite().await;
    let change = move |app: &mut api::state::AppState| app.database.health = Arc::new(Failing(failing));
    let server = Server::start_changed(&db, &[], change).await;
    let answer = server.send(server.request(Method::GET, "/readyz").header("origin", ORIGIN)).await;
    assert_eq!(server.get("/livez", None).await.status, 200);
    assert_eq!(answer.header("access-control-allow-origin").as_deref(), Some(ORIGIN));
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_a_fault_that_pages_can_read_and_that_tells_nothing() {
    let answer = readiness(|| panic!("the password is hunter2")).await;
    assert_eq!(answer.problem(), (500, "Internal Server Error"));
    assert_eq!(answer.json["code"], "internal_error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_answer_may_be_asked_again_later() {
    let answer = readiness(|| Err(Error::unavailable("the password is hunter2"))).await;
    assert_eq!(answer.problem(), (503, "The service is temporarily unavailable"));
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

#[database_test]
async fn a_fault_of_the_database_tells_nothing_and_leaves_nothing_half_done(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let post = server.new_post(&ann, "hi", false).await;
    let comments = format!("/posts/{post}/comment");
    db.execute("ALTER TABLE notifications RENAME TO elsewhere").await;
    let answer = server.post(&comments, &bob, json!({"content": "x"})).await;
    assert_eq!(answer.problem(), (500, "Internal Server Error"));
    assert!(!answer.text().contains("notifications"), "{}", answer.text());
    db.execute("ALTER TABLE elsewhere RENAME TO notifications").await;
    assert_eq!(server.get(&comments, None).await.ok()["total"], 0);
    assert_eq!(server.post(&comments, &bob, json!({"content": "x"})).await.status, 200);
    db.agrees().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_lost_are_replaced() {
    let db = TestDatabase::postgres().await;
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..3 {
        db.execute(others).await;
        let mut answers = 0;
        // Each connection of the pool may fail once, which its client is told to try again.
        while answers < 8 {
            let answer = server.post("/posts/", &ann, json!({"content": "hi"})).await;
            assert!([200, 503].contains(&answer.status), "{}", answer.text());
            answers += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.post("/posts/", &ann, json!({"content": "hi"})).await.status, 200);
    }
    db.agrees().await;
}
