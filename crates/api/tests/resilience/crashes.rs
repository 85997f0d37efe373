//! Acknowledged writes survive kills of the server and crashes of the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use test_support::{Cluster, TestDatabase, not_tested};

use crate::{
    harness::{ApiClient, Process},
    resilience::{
        load::{Load, Verdict},
        report,
    },
};

/// Calls `disturb` `rounds` times while users write, and checks the data each time.
async fn under_load(
    server: &mut Process,
    rounds: u64,
    mut disturb: impl AsyncFnMut(&mut Process),
) -> Verdict {
    let mut load = Load::new(server, 8).await;
    let mut all = Verdict::default();
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        // A different time in each round.
        let wait = Duration::from_millis(300 + 97 * round % 500);
        // A client of its own, because `disturb` borrows the process.
        let client = ApiClient::clone(server);
        let writing = load.run(&client, stop.clone());
        let disturbing = async {
            tokio::time::sleep(wait).await;
            disturb(server).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(writing, disturbing);
        let verdict = load.check(server).await;
        all.checks = verdict.checks;
        all.failures.extend(verdict.failures);
    }
    all
}

async fn kill_under_load(name: &str, settings: &[(&str, &str)], rounds: u64) {
    let mut server = Process::new(settings);
    server.launch().await;
    let verdict = under_load(&mut server, rounds, async |server| {
        server.kill();
        server.launch().await;
    })
    .await;
    report(&format!("server killed {rounds} times on {name}"), verdict.checks, &verdict.failures);
}

async fn crash_database(rounds: u64) {
    let Some(cluster) = Cluster::start() else {
        return not_tested("PostgreSQL's server programs are not installed");
    };
    let mut server = Process::new(&[("DATABASE_URL", &cluster.url())]);
    server.launch().await;
    let verdict = under_load(&mut server, rounds, async |server| {
        tokio::task::block_in_place(|| {
            cluster.crash();
            cluster.restart();
        });
        while !server.is_ready().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    report(&format!("PostgreSQL crashed {rounds} times"), verdict.checks, &verdict.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_on_sqlite() {
    kill_under_load("SQLite", &[], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_on_postgres() {
    let db = TestDatabase::postgres().await;
    kill_under_load("PostgreSQL", &[("DATABASE_URL", db.url())], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_a_database_crash() {
    crash_database(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn acknowledged_writes_survive_twenty_kills_and_five_database_crashes() {
    kill_under_load("SQLite", &[], 20).await;
    let db = TestDatabase::postgres().await;
    kill_under_load("PostgreSQL", &[("DATABASE_URL", db.url())], 20).await;
    crash_database(5).await;
}
