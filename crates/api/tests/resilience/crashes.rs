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

/// Breaks and mends the same thing `rounds` times while people write.
async fn under_load(
    server: &mut Process,
    rounds: u64,
    mut disturb: impl AsyncFnMut(&mut Process),
) -> Verdict {
    let mut load = Load::new(server, 8).await;
    let mut all = Verdict::default();
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        // Each time at another moment.
        let wait = Duration::from_millis(300 + 97 * round % 500);
        // The people need the server while it is being killed: they know it by its address alone.
        let people = ApiClient::clone(server);
        let writing = load.run(&people, stop.clone());
        let disturbing = async {
            tokio::time::sleep(wait).await;
            disturb(server).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(writing, disturbing);
        let verdict = load.check(server).await;
        all.tried = verdict.tried;
        all.violated.extend(verdict.violated);
    }
    all
}

async fn killed(name: &str, settings: &[(&str, &str)], rounds: u64) {
    let mut server = Process::new(settings);
    server.launch().await;
    let verdict = under_load(&mut server, rounds, async |server| {
        server.kill();
        server.launch().await;
    })
    .await;
    report(&format!("server killed {rounds} times on {name}"), verdict.tried, &verdict.violated);
}

async fn database_crashed(rounds: u64) {
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
    report(&format!("PostgreSQL crashed {rounds} times"), verdict.tried, &verdict.violated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_on_sqlite() {
    killed("SQLite", &[], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_on_postgres() {
    let db = TestDatabase::postgres().await;
    killed("PostgreSQL", &[("DATABASE_URL", db.url())], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_a_database_crash() {
    database_crashed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn acknowledged_writes_survive_twenty_kills_and_five_database_crashes() {
    killed("SQLite", &[], 20).await;
    let db = TestDatabase::postgres().await;
    killed("PostgreSQL", &[("DATABASE_URL", db.url())], 20).await;
    database_crashed(5).await;
}
