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

/// Within which time everything is completed, and everything is well again once the database is back.
const IN_TIME: Duration = Duration::from_secs(5);

/// On a machine that is busy with other tests, time says nothing.
const SOME_DAY: Duration = Duration::from_secs(19);

/// Reads and writes while the database is away; what was wrong with the responses.
async fn refused(server: &Process, user: &User, at_once: usize, in_time: Duration) -> (usize, Vec<String>) {
    let asked = (0..at_once).map(async |n| {
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
                (took > in_time).then(|| format!("{n}: 503 after {took:?}"))
            }
            Ok(response) => Some(format!("{n}: {} after {took:?}", response.status())),
            Err(error) => Some(format!("{n}: {error} after {took:?}")),
        }
    });
    (at_once, join_all(asked).await.into_iter().flatten().collect())
}

/// How long it takes until everything is served again.
async fn served_again(server: &Process, user: &User) -> Duration {
    let start = Instant::now();
    loop {
        let asked = (0..32).map(async |_| {
            let request = server.request(Method::GET, "/posts/").bearer_auth(&user.access);
            server.try_send(request).await.map(|(status, _)| status)
        });
        if join_all(asked).await.iter().all(|status| *status == Some(200)) || start.elapsed() > SOME_DAY {
            return start.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Takes the database away and brings it back, `rounds` times stopped and as often frozen.
async fn away(rounds: usize, at_once: usize, in_time: Duration) {
    let Some(cluster) = Cluster::start() else {
        return not_tested("PostgreSQL's server programs are not installed");
    };
    let mut server = Process::new(&[("DATABASE_URL", &cluster.url())]);
    server.launch().await;
    let user = server.create_user("ann").await;
    let (mut tried, mut violated) = (0, Vec::new());
    for _ in 0..rounds {
        for (take, give) in [
            (Cluster::crash as fn(&Cluster), Cluster::restart as fn(&Cluster)),
            (Cluster::freeze, Cluster::thaw),
        ] {
            // Connections are there, as on any day.
            served_again(&server, &user).await;
            tokio::task::block_in_place(|| take(&cluster));
            // The second time with no connection that is idle.
            for _ in 0..rounds.min(2) {
                let (asked, wrong) = refused(&server, &user, at_once, in_time).await;
                tried += asked;
                violated.extend(wrong);
            }
            tokio::task::block_in_place(|| give(&cluster));
            let took = served_again(&server, &user).await;
            if took > in_time {
                violated.push(format!("well again after {took:?}"));
            }
        }
    }
    report(&format!("PostgreSQL away {} times", 2 * rounds), tried, &violated);
}

/// Sends `requests` whose clients hang up at any moment, then looks whether the pool and the data are sound.
async fn hung_up(name: &str, settings: &[(&str, &str)], requests: u64) {
    let connections = 4;
    let connections_setting = connections.to_string();
    let settings = [settings, &[("DATABASE_CONNECTIONS", &*connections_setting)]].concat();
    let mut server = Process::new(&settings);
    server.launch().await;
    let mut load = Load::new(&server, 4).await;
    load.hang_up(&server, requests, 16).await;
    // Each connection of the pool is asked for, more than once.
    let user = load.somebody().clone();
    let asked = (0..connections * 8).map(async |_| {
        let request = server.request(Method::GET, "/posts/").bearer_auth(&user.access);
        server.try_send(request).await.map(|(status, _)| status)
    });
    let responses = join_all(asked).await;
    let mut violated: Vec<String> =
        responses.iter().filter(|status| **status != Some(200)).map(|status| format!("{status:?}")).collect();
    violated.extend(load.check_at_rest(&server).await.violated);
    if server.log().contains("panicked") {
        violated.push("a panic".to_owned());
    }
    report(
        &format!("{requests} requests hung up on {name}"),
        usize::try_from(requests).unwrap() + responses.len(),
        &violated,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_fail_in_time_without_the_database_and_recover() {
    away(1, 24, SOME_DAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnecting_clients_leave_pool_and_data_consistent_on_sqlite() {
    hung_up("SQLite", &[], 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnecting_clients_leave_pool_and_data_consistent_on_postgres() {
    let db = TestDatabase::postgres().await;
    hung_up("PostgreSQL", &[("DATABASE_URL", db.url())], 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn ten_database_outages_and_two_thousand_disconnects_are_survived() {
    away(5, 64, IN_TIME).await;
    hung_up("SQLite", &[], 2000).await;
    let db = TestDatabase::postgres().await;
    hung_up("PostgreSQL", &[("DATABASE_URL", db.url())], 2000).await;
}
