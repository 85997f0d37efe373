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

/// What became of one request.
enum Fate {
    Completed,
    /// The server takes no connections any more.
    Refused,
    /// The connection was reset before anything came back: the kernel takes connections that the server has not
    /// accepted yet, and resets them when it ends. Such a request must have done nothing.
    Reset,
    /// It was written, and its response did not come, or broke off.
    Dropped(String),
}

/// Sends one request on a connection of its own, which the server cannot have closed as idle.
async fn ask(address: &str, user: &User, mark: &str) -> Fate {
    let body = json!({"content": mark}).to_string();
    let request = format!(
        "POST /posts/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        user.access,
        body.len()
    );
    let Ok(mut stream) = TcpStream::connect(address).await else { return Fate::Refused };
    if stream.write_all(request.as_bytes()).await.is_err() {
        return Fate::Reset;
    }
    let mut response = Vec::new();
    match stream.read_to_end(&mut response).await {
        Ok(_) if response.starts_with(b"HTTP/1.1 200") => Fate::Completed,
        Err(error) if response.is_empty() && error.kind() == std::io::ErrorKind::ConnectionReset => {
            Fate::Reset
        }
        ended => Fate::Dropped(format!("{mark}: {ended:?} after {} bytes", response.len())),
    }
}

/// What one person who asked without pause has seen.
#[derive(Default)]
struct Asked {
    completed: Vec<String>,
    reset: Vec<String>,
    dropped: Vec<String>,
}

async fn ask_until(stop: &AtomicBool, address: &str, user: &User, who: &str) -> Asked {
    let mut asked = Asked::default();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mark = format!("{who} {n}");
        match ask(address, user, &mark).await {
            Fate::Completed => asked.completed.push(mark),
            Fate::Refused => tokio::time::sleep(Duration::from_millis(5)).await,
            Fate::Reset => asked.reset.push(mark),
            Fate::Dropped(what) => asked.dropped.push(what),
        }
    }
    asked
}

/// Stops it `rounds` times under load.
async fn stopped(name: &str, settings: &[(&str, &str)], rounds: u64) {
    let mut server = Process::new(settings);
    server.launch().await;
    let asker = server.create_user("asker").await;
    let mut load = Load::new(&server, 8).await;
    let (mut completed, mut kept, mut violated) = (0, 0, Vec::new());
    for round in 0..rounds {
        let stop = AtomicBool::new(false);
        let writers_stop = Arc::new(AtomicBool::new(false));
        let people = ApiClient::clone(&server);
        let writing = load.run(&people, writers_stop.clone());
        let (address, stop) = (people.address(), &stop);
        let askers = (0..4).map(|n| {
            let (who, asker) = (format!("{round} {n}"), &asker);
            async move { ask_until(stop, address, asker, &who).await }
        });
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(400 + 97 * round % 500)).await;
            let ended = server.stop().await;
            stop.store(true, Ordering::Relaxed);
            writers_stop.store(true, Ordering::Relaxed);
            ended
        };
        let ((), asked, (code, took)) = tokio::join!(writing, join_all(askers), stopping);
        if code != Some(0) || took > Duration::from_secs(10) {
            violated.push(format!("it ended with {code:?} after {took:?}"));
        }
        server.launch().await;
        let stored: BTreeSet<String> = all(&server, "/posts/?user_id=me", "posts", &asker)
            .await
            .values()
            .map(|post| post["content"].as_str().unwrap().to_owned())
            .collect();
        for asked in asked {
            completed += asked.completed.len();
            violated.extend(asked.dropped);
            let lost = asked.completed.iter().filter(|mark| !stored.contains(*mark));
            violated.extend(lost.map(|mark| format!("lost {mark}")));
            let done = asked.reset.iter().filter(|mark| stored.contains(*mark));
            violated.extend(done.map(|mark| format!("done and not completed {mark}")));
        }
        let verdict = load.check(&server).await;
        kept = verdict.tried;
        violated.extend(verdict.violated);
    }
    report(&format!("server stopped {rounds} times on {name}"), completed + kept, &violated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_under_load_completes_and_stores_accepted_requests() {
    stopped("SQLite", &[], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn twenty_stops_under_load_complete_and_store_accepted_requests() {
    stopped("SQLite", &[], 20).await;
    let db = TestDatabase::postgres().await;
    stopped("PostgreSQL", &[("DATABASE_URL", db.url())], 20).await;
}
