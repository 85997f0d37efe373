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
enum Behavior {
    Works,
    /// Accepts the connection and sends nothing.
    Hangs,
    TemporaryError,
    PermanentError,
}

/// Received mails by address, oldest first.
type Received = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

#[derive(Clone)]
struct Session {
    behavior: Arc<AtomicU8>,
    to: String,
    text: Vec<u8>,
    received: Received,
}

impl Handler for Session {
    fn helo(&mut self, _ip: IpAddr, _domain: &str) -> Response {
        while self.behavior.load(Ordering::Relaxed) == Behavior::Hangs as u8 {
            std::thread::sleep(Duration::from_millis(50));
        }
        response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        to.clone_into(&mut self.to);
        self.text.clear();
        match self.behavior.load(Ordering::Relaxed) {
            behavior if behavior == Behavior::TemporaryError as u8 => response::INTERNAL_ERROR,
            behavior if behavior == Behavior::PermanentError as u8 => response::NO_MAILBOX,
            _ => response::OK,
        }
    }

    fn data(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.text.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        self.received.lock().unwrap().entry(self.to.clone()).or_default().push(text);
        response::OK
    }
}

/// A mail server with a behavior that tests can change; it does not listen at first.
struct MailServer {
    behavior: Arc<AtomicU8>,
    received: Received,
}

impl MailServer {
    /// A server and the port at which it does not listen yet.
    fn away() -> (Self, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self { behavior: Arc::default(), received: Arc::default() }, port)
    }

    fn start(&self, port: u16) {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (behavior, received) = (self.behavior.clone(), self.received.clone());
        let session = Session { behavior, to: String::new(), text: Vec::new(), received };
        // Its threads end with the process.
        std::thread::spawn(move || {
            let mut server = Server::new(session);
            server.with_ssl(SslConfig::None).unwrap().with_num_threads(32).with_tcp_listener(listener);
            server.serve().unwrap();
        });
    }

    fn set(&self, behavior: Behavior) {
        self.behavior.store(behavior as u8, Ordering::Relaxed);
    }

    /// Returns the code in the newest mail to this address.
    fn code(&self, email: &str) -> Option<String> {
        let received = self.received.lock().unwrap();
        let text = received.get(email)?.last()?;
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
        text.lines().map(str::trim).find(is_code).map(str::to_owned)
    }
}

/// Registers a user and returns how long that took.
async fn register(server: &Process, name: &str) -> Duration {
    let body = json!({"username": name, "email": email(name), "password": PASSWORD});
    let start = Instant::now();
    let response = server.try_send(server.request(Method::POST, "/users/register").json(&body)).await;
    assert_eq!(response.map(|(status, _)| status), Some(200));
    start.elapsed()
}

/// Waits until so many attempts have failed. Mails that a killed server was sending stay leased for most of a minute;
/// only the long test waits that long.
async fn wait_for_attempts(server: &Process, times: usize) {
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

/// Registers `count` users while the mail server is away and in each of `behaviors`, with a kill of the server after
/// each, and checks that every mail arrives once the mail server works.
async fn check_delivery(count: usize, behaviors: &[Behavior], pause: Duration, timed: bool) {
    let (mail_server, port) = MailServer::away();
    let settings = [("SMTP_HOST", "127.0.0.1"), ("SMTP_PORT", &port.to_string())];
    let mut server = Process::new(&settings);
    server.launch().await;
    let (mut names, mut failures) = (Vec::new(), Vec::new());
    let mut slow = |name: &str, took: Duration| {
        if timed && took > Duration::from_secs(1) {
            failures.push(format!("{name} waited {took:?}"));
        }
    };
    for n in 0..count {
        let name = format!("away{n}");
        slow(&name, register(&server, &name).await);
        names.push(name);
    }
    wait_for_attempts(&server, count).await;
    server.kill();
    server.launch().await;
    mail_server.start(port);
    for behavior in behaviors {
        mail_server.set(*behavior);
        for n in 0..count {
            let name = format!("{behavior:?}{n}").to_lowercase();
            slow(&name, register(&server, &name).await);
            names.push(name);
        }
        wait_for_attempts(&server, names.len()).await;
        tokio::time::sleep(pause).await;
        server.kill();
        server.launch().await;
    }
    mail_server.set(Behavior::Works);
    let back = Instant::now();
    let limit = Duration::from_secs(if timed { 60 } else { 120 });
    for name in &names {
        let code = loop {
            match mail_server.code(&email(name)) {
                Some(code) => break Some(code),
                None if back.elapsed() > limit => break None,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let Some(code) = code else {
            failures.push(format!("no mail to {name}"));
            continue;
        };
        let body = json!({"email": email(name), "otp": code});
        let response = server.try_send(server.request(Method::POST, "/users/verify-otp").json(&body)).await;
        if !matches!(response, Some((200, _))) {
            failures.push(format!("the code of {name}: {response:?}"));
        }
    }
    report(
        &format!("mails pending while the mail server was away, then {behaviors:?}"),
        names.len(),
        &failures,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_mail_is_sent_once_the_mail_server_is_back() {
    check_delivery(
        3,
        &[Behavior::TemporaryError, Behavior::PermanentError],
        Duration::from_millis(300),
        false,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn every_mail_is_sent_within_a_minute_of_the_mail_servers_return() {
    let behaviors = [Behavior::TemporaryError, Behavior::PermanentError, Behavior::Hangs];
    check_delivery(10, &behaviors, Duration::from_secs(20), true).await;
}
