//! SIGTERM under load: the server stops in time and completes accepted requests.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::json;
use test_support::TestDatabase;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{ApiClient, Process, User},
    resilience::{
        load::{Load, all},
        report,
    },
};

/// Outcome of one request.
enum Outcome {
    Completed,
    /// The server accepts no more connections.
    Refused,
    /// The connection was reset without a response: the kernel accepts connections before the server does, and resets
    /// them when it ends. Such a request must have had no effect.
    Reset,
    /// The request was sent, but its response is missing or incomplete.
    Dropped(String),
}

/// Sends one request on a connection of its own, which the server cannot have closed as idle.
async fn send_post(address: &str, user: &User, mark: &str) -> Outcome {
    let body = json!({"content": mark}).to_string();
    let request = format!(
        "POST /posts/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        user.access,
        body.len()
    );
    let Ok(mut stream) = TcpStream::connect(address).await else { return Outcome::Refused };
    if stream.write_all(request.as_bytes()).await.is_err() {
        return Outcome::Reset;
    }
    let mut response = Vec::new();
    match stream.read_to_end(&mut response).await {
        Ok(_) if response.starts_with(b"HTTP/1.1 200") => Outcome::Completed,
        Err(error) if response.is_empty() && error.kind() == std::io::ErrorKind::ConnectionReset => {
            Outcome::Reset
        }
        ended => Outcome::Dropped(format!("{mark}: {ended:?} after {} bytes", response.len())),
    }
}

/// Outcomes of the requests that one user sent without pause.
#[derive(Default)]
struct Outcomes {
    completed: Vec<String>,
    reset: Vec<String>,
    dropped: Vec<String>,
}

async fn send_posts_until(stop: &AtomicBool, address: &str, user: &User, sender_name: &str) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mark = format!("{sender_name} {n}");
        match send_post(address, user, &mark).await {
            Outcome::Completed => outcomes.completed.push(mark),
            Outcome::Refused => tokio::time::sleep(Duration::from_millis(5)).await,
            Outcome::Reset => outcomes.reset.push(mark),
            Outcome::Dropped(reason) => outcomes.dropped.push(reason),
        }
    }
    outcomes
}

/// Stops the server `rounds` times under load.
async fn stop_under_load(name: &str, settings: &[(&str, &str)], rounds: u64) {
    let mut server = Process::new(settings);
    server.launch().await;
    let sender = server.create_user("sender").await;
    let mut load = Load::new(&server, 8).await;
    let (mut completed, mut stored_writes, mut failures) = (0, 0, Vec::new());
    for round in 0..rounds {
        let stop = AtomicBool::new(false);
        let writers_stop = Arc::new(AtomicBool::new(false));
        let people = ApiClient::clone(&server);
        let writing = load.run(&people, writers_stop.clone());
        let (address, stop) = (people.address(), &stop);
        let senders = (0..4).map(|n| {
            let (sender_name, sender) = (format!("{round} {n}"), &sender);
            async move { send_posts_until(stop, address, sender, &sender_name).await }
        });
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(400 + 97 * round % 500)).await;
            let ended = server.stop().await;
            stop.store(true, Ordering::Relaxed);
            writers_stop.store(true, Ordering::Relaxed);
            ended
        };
        let ((), outcomes, (code, took)) = tokio::join!(writing, join_all(senders), stopping);
        if code != Some(0) || took > Duration::from_secs(10) {
            failures.push(format!("it ended with {code:?} after {took:?}"));
        }
        server.launch().await;
        let stored: BTreeSet<String> = all(&server, "/posts/?user_id=me", "posts", &sender)
            .await
            .values()
            .map(|post| post["content"].as_str().unwrap().to_owned())
            .collect();
        for outcomes in outcomes {
            completed += outcomes.completed.len();
            failures.extend(outcomes.dropped);
            let lost = outcomes.completed.iter().filter(|mark| !stored.contains(*mark));
            failures.extend(lost.map(|mark| format!("lost {mark}")));
            let done = outcomes.reset.iter().filter(|mark| stored.contains(*mark));
            failures.extend(done.map(|mark| format!("stored without a response: {mark}")));
        }
        let verdict = load.check(&server).await;
        stored_writes = verdict.checks;
        failures.extend(verdict.failures);
    }
    report(&format!("server stopped {rounds} times on {name}"), completed + stored_writes, &failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_under_load_completes_and_stores_accepted_requests() {
    stop_under_load("SQLite", &[], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn twenty_stops_under_load_complete_and_store_accepted_requests() {
    stop_under_load("SQLite", &[], 20).await;
    let db = TestDatabase::postgres().await;
    stop_under_load("PostgreSQL", &[("DATABASE_URL", db.url())], 20).await;
}
