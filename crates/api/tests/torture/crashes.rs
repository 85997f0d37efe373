//! What is acknowledged survives: the server is killed, or the database, while people write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use test_support::{Cluster, TestDatabase};

use crate::{
    load::{Load, Verdict},
    program::Program,
    report,
};

/// Breaks and mends the same thing `rounds` times while people write.
async fn under_load(
    program: &mut Program,
    rounds: u64,
    mut disturb: impl AsyncFnMut(&mut Program),
) -> Verdict {
    let mut load = Load::new(program, 8).await;
    let mut all = Verdict::default();
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        // Each time at another moment.
        let wait = Duration::from_millis(300 + 97 * round % 500);
        // The people need the program while it is being killed: they know it by its address alone.
        let people = program.by_address();
        let writing = load.run(&people, stop.clone());
        let disturbing = async {
            tokio::time::sleep(wait).await;
            disturb(program).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(writing, disturbing);
        let verdict = load.check(program).await;
        all.tried = verdict.tried;
        all.violated.extend(verdict.violated);
    }
    all
}

async fn killed(name: &str, settings: &[(&str, &str)], rounds: u64) {
    let mut program = Program::new(settings);
    program.start().await;
    let verdict = under_load(&mut program, rounds, async |program| {
        program.kill();
        program.start().await;
    })
    .await;
    report(&format!("server killed {rounds} times on {name}"), verdict.tried, &verdict.violated);
}

async fn database_crashed(rounds: u64) {
    let Some(cluster) = Cluster::start() else {
        return test_support::not_tested("PostgreSQL's server programs are not installed");
    };
    let mut program = Program::new(&[("DATABASE_URL", &cluster.url())]);
    program.start().await;
    let verdict = under_load(&mut program, rounds, async |program| {
        tokio::task::block_in_place(|| {
            cluster.crash();
            cluster.restart();
        });
        while !program.is_ready().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    report(&format!("PostgreSQL crashed {rounds} times"), verdict.tried, &verdict.violated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_the_server_on_sqlite() {
    killed("SQLite", &[], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_the_server_on_postgres() {
    let db = TestDatabase::postgres().await;
    killed("PostgreSQL", &[("DATABASE_URL", db.url())], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_the_database() {
    database_crashed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just torture"]
async fn twenty_kills_on_each_database_and_five_crashes_of_postgres() {
    killed("SQLite", &[], 20).await;
    let db = TestDatabase::postgres().await;
    killed("PostgreSQL", &[("DATABASE_URL", db.url())], 20).await;
    database_crashed(5).await;
}
