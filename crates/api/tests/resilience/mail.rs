//! A mail server that is away, hangs or rejects: registration goes on, and every mail is sent after its return.

use std::{
    collections::BTreeMap,
    net::{IpAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use mailin_embedded::{Handler, Response, Server, SslConfig, response};
use reqwest::Method;
use serde_json::json;

use crate::{
    harness::{PASSWORD, Process},
    resilience::report,
};

/// How the mail server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Takes the connection, and says nothing more.
    Hanging,
    TryAgain,
    Refusing,
}

/// Outbox that have arrived, by address, oldest first.
type Arrived = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

#[derive(Clone)]
struct Session {
    mood: Arc<AtomicU8>,
    to: String,
    text: Vec<u8>,
    arrived: Arrived,
}

impl Handler for Session {
    fn helo(&mut self, _ip: IpAddr, _domain: &str) -> Response {
        while self.mood.load(Ordering::Relaxed) == Mood::Hanging as u8 {
            std::thread::sleep(Duration::from_millis(50));
        }
        response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        to.clone_into(&mut self.to);
        self.text.clear();
        match self.mood.load(Ordering::Relaxed) {
            mood if mood == Mood::TryAgain as u8 => response::INTERNAL_ERROR,
            mood if mood == Mood::Refusing as u8 => response::NO_MAILBOX,
            _ => response::OK,
        }
    }

    fn data(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.text.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        self.arrived.lock().unwrap().entry(self.to.clone()).or_default().push(text);
        response::OK
    }
}

/// A mail server that can be moody, and for now does not listen.
struct Post {
    mood: Arc<AtomicU8>,
    arrived: Arrived,
}

impl Post {
    /// It refuses connections at this port.
    fn away() -> (Self, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self { mood: Arc::default(), arrived: Arc::default() }, port)
    }

    fn start(&self, port: u16) {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (mood, arrived) = (self.mood.clone(), self.arrived.clone());
        let session = Session { mood, to: String::new(), text: Vec::new(), arrived };
        // Its threads end with the process.
        std::thread::spawn(move || {
            let mut server = Server::new(session);
            server.with_ssl(SslConfig::None).unwrap().with_num_threads(32).with_tcp_listener(listener);
            server.serve().unwrap();
        });
    }

    fn is(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::Relaxed);
    }

    /// The code in the newest mail to this address.
    fn code(&self, email: &str) -> Option<String> {
        let arrived = self.arrived.lock().unwrap();
        let text = arrived.get(email)?.last()?;
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
        text.lines().map(str::trim).find(is_code).map(str::to_owned)
    }
}

/// Registers somebody; how long it took.
async fn register(server: &Process, name: &str) -> Duration {
    let body = json!({"username": name, "email": email(name), "password": PASSWORD});
    let start = Instant::now();
    let response = server.try_send(server.request(Method::POST, "/users/register").json(&body)).await;
    assert_eq!(response.map(|(status, _)| status), Some(200));
    start.elapsed()
}

/// Waits until so many tries have failed. What a killed server was sending stays its own for most of a minute, which
/// only the long form has.
async fn tried(server: &Process, times: usize) {
    for _ in 0..250 {
        if server.log().matches("failed to send mail").count() >= times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn email(name: &str) -> String {
    format!("{name}@example.com")
}

/// Registers `people` in each of `moods` and while the mail server is away, kills the server, and heals the other.
async fn owed(people: usize, moods: &[Mood], settle: Duration, timed: bool) {
    let (post, port) = Post::away();
    let settings = [("SMTP_HOST", "127.0.0.1"), ("SMTP_PORT", &port.to_string())];
    let mut server = Process::new(&settings);
    server.launch().await;
    let (mut names, mut violated) = (Vec::new(), Vec::new());
    let mut slow = |name: &str, took: Duration| {
        if timed && took > Duration::from_secs(1) {
            violated.push(format!("{name} waited {took:?}"));
        }
    };
    for n in 0..people {
        let name = format!("away{n}");
        slow(&name, register(&server, &name).await);
        names.push(name);
    }
    tried(&server, people).await;
    server.kill();
    server.launch().await;
    post.start(port);
    for mood in moods {
        post.is(*mood);
        for n in 0..people {
            let name = format!("{mood:?}{n}").to_lowercase();
            slow(&name, register(&server, &name).await);
            names.push(name);
        }
        tried(&server, names.len()).await;
        tokio::time::sleep(settle).await;
        server.kill();
        server.launch().await;
    }
    post.is(Mood::Well);
    let back = Instant::now();
    let limit = Duration::from_secs(if timed { 60 } else { 120 });
    for name in &names {
        let code = loop {
            match post.code(&email(name)) {
                Some(code) => break Some(code),
                None if back.elapsed() > limit => break None,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let Some(code) = code else {
            violated.push(format!("no mail to {name}"));
            continue;
        };
        let body = json!({"email": email(name), "otp": code});
        let response = server.try_send(server.request(Method::POST, "/users/verify-otp").json(&body)).await;
        if !matches!(response, Some((200, _))) {
            violated.push(format!("the code of {name}: {response:?}"));
        }
    }
    report(&format!("mails owed while the mail server was away, then {moods:?}"), names.len(), &violated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_mail_is_sent_once_the_mail_server_is_back() {
    owed(3, &[Mood::TryAgain, Mood::Refusing], Duration::from_millis(300), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn every_mail_is_sent_within_a_minute_of_the_mail_servers_return() {
    let moods = [Mood::TryAgain, Mood::Refusing, Mood::Hanging];
    owed(10, &moods, Duration::from_secs(20), true).await;
}
