//! A database that is stopped or frozen, and clients that disconnect.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use test_support::{Cluster, TestDatabase, not_tested};

use crate::{
    harness::{Process, User},
    resilience::{load::Load, report},
};

/// Promised time until a response without the database, and until recovery after its return.
const PROMISED_TIME: Duration = Duration::from_secs(5);

/// Tolerance of the short test, which shares the machine with other tests.
const TOLERATED_TIME: Duration = Duration::from_secs(19);

/// Reads and writes while the database is away, and returns the unexpected responses.
async fn unexpected_responses(
    server: &Process,
    user: &User,
    at_once: usize,
    limit: Duration,
) -> (usize, Vec<String>) {
    let requests = (0..at_once).map(async |n| {
        let request = match n % 4 {
            0 => server.request(Method::GET, "/posts/"),
            1 => server.request(Method::POST, "/posts/").json(&json!({"content": "while it is away"})),
            2 => server.request(Method::GET, "/readyz"),
            _ => {
                let body = json!({"username": user.name, "password": "wrong"});
                server.request(Method::POST, "/users/login").json(&body)
            }
        };
        let start = Instant::now();
        let response = request.bearer_auth(&user.access).send().await;
        let took = start.elapsed();
        match response {
            Ok(response) if response.status() == 503 && response.headers().contains_key("retry-after") => {
                (took > limit).then(|| format!("{n}: 503 after {took:?}"))
            }
            Ok(response) => Some(format!("{n}: {} after {took:?}", response.status())),
            Err(error) => Some(format!("{n}: {error} after {took:?}")),
        }
    });
    (at_once, join_all(requests).await.into_iter().flatten().collect())
}

/// Waits until all requests succeed again, and returns how long that took.
async fn wait_for_recovery(server: &Process, user: &User) -> Duration {
    let start = Instant::now();
    loop {
        let requests = (0..32).map(async |_| {
            let request = server.request(Method::GET, "/posts/").bearer_auth(&user.access);
            server.try_send(request).await.map(|(status, _)| status)
        });
        if join_all(requests).await.iter().all(|status| *status == Some(200))
            || start.elapsed() > TOLERATED_TIME
        {
            return start.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the server reports that it is not ready: the outcome of a check is reported for a second.
async fn wait_for_unreadiness(server: &Process) {
    let start = Instant::now();
    while start.elapsed() < TOLERATED_TIME {
        let status = server.try_send(server.request(Method::GET, "/readyz")).await.map(|(status, _)| status);
        if status == Some(503) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Stops and freezes the database `rounds` times each.
async fn interrupt_database(rounds: usize, at_once: usize, limit: Duration) {
    let Some(cluster) = Cluster::start() else {
        return not_tested("PostgreSQL's server programs are not installed");
    };
    let mut server = Process::new(&[("DATABASE_URL", &cluster.url())]);
    server.launch().await;
    let user = server.create_user("ann").await;
    let (mut checks, mut failures) = (0, Vec::new());
    for _ in 0..rounds {
        for (take, give) in [
            (Cluster::crash as fn(&Cluster), Cluster::restart as fn(&Cluster)),
            (Cluster::freeze, Cluster::thaw),
        ] {
            // Fills the pool with connections.
            wait_for_recovery(&server, &user).await;
            tokio::task::block_in_place(|| take(&cluster));
            wait_for_unreadiness(&server).await;
            // The second time without an idle connection.
            for _ in 0..rounds.min(2) {
                let (requests, wrong) = unexpected_responses(&server, &user, at_once, limit).await;
                checks += requests;
                failures.extend(wrong);
            }
            tokio::task::block_in_place(|| give(&cluster));
            let took = wait_for_recovery(&server, &user).await;
            if took > limit {
                failures.push(format!("recovered after {took:?}"));
            }
        }
    }
    report(&format!("PostgreSQL away {} times", 2 * rounds), checks, &failures);
}

/// Sends `requests` whose clients disconnect at any time, then checks the pool and the data.
async fn disconnect_clients(name: &str, settings: &[(&str, &str)], requests: u64) {
    let connections = 4;
    let settings = [settings, &[("DATABASE_CONNECTIONS", "4")]].concat();
    let mut server = Process::new(&settings);
    server.launch().await;
    let mut load = Load::new(&server, 4).await;
    load.disconnect(&server, requests, 16).await;
    // Uses each connection of the pool more than once.
    let user = load.first_user().clone();
    let reads = (0..connections * 8).map(async |_| {
        let request = server.request(Method::GET, "/posts/").bearer_auth(&user.access);
        server.try_send(request).await.map(|(status, _)| status)
    });
    let responses = join_all(reads).await;
    let mut failures: Vec<String> =
        responses.iter().filter(|status| **status != Some(200)).map(|status| format!("{status:?}")).collect();
    failures.extend(load.check_at_rest(&server).await.failures);
    if server.log().contains("panicked") {
        failures.push("a panic".to_owned());
    }
    report(
        &format!("{requests} cancelled requests on {name}"),
        usize::try_from(requests).unwrap() + responses.len(),
        &failures,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_fail_in_time_without_the_database_and_recover() {
    interrupt_database(1, 24, TOLERATED_TIME).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnecting_clients_leave_pool_and_data_consistent_on_sqlite() {
    disconnect_clients("SQLite", &[], 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnecting_clients_leave_pool_and_data_consistent_on_postgres() {
    let db = TestDatabase::postgres().await;
    disconnect_clients("PostgreSQL", &[("DATABASE_URL", db.url())], 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn ten_database_outages_and_two_thousand_disconnects_are_survived() {
    interrupt_database(5, 64, PROMISED_TIME).await;
    disconnect_clients("SQLite", &[], 2000).await;
    let db = TestDatabase::postgres().await;
    disconnect_clients("PostgreSQL", &[("DATABASE_URL", db.url())], 2000).await;
}
