//! The official JavaScript client of Socket.IO, in a process of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, timeout_at},
};

/// Time within which an event must arrive.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);
const SCRIPT: &str = include_str!("../node/clients.mjs");
const PACKAGE: &str = include_str!("../node/package.json");

/// Installs the client in a folder below `target`, once.
fn folder(target: &str) -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = PathBuf::from(target).join("socketio-node");
        fs::create_dir_all(&folder).expect("the process with the clients works");
        // Test processes may run side by side.
        let lock = fs::File::create(folder.join("lock")).expect("the process with the clients works");
        lock.lock().expect("the process with the clients works");
        let is_new = fs::read_to_string(folder.join("package.json")).ok().as_deref() != Some(PACKAGE)
            || !folder.join("node_modules/socket.io-client").exists();
        if is_new {
            fs::write(folder.join("package.json"), PACKAGE).expect("the process with the clients works");
            let npm = Command::new("npm")
                .args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
                .current_dir(&folder)
                .output()
                .expect("Node.js with npm is needed for the tests of Socket.IO");
            assert!(npm.status.success(), "{}", String::from_utf8_lossy(&npm.stderr));
        }
        if fs::read_to_string(folder.join("clients.mjs")).ok().as_deref() != Some(SCRIPT) {
            fs::write(folder.join("clients.mjs"), SCRIPT).expect("the process with the clients works");
        }
        folder
    })
}

/// The library for browsers, as a file; installed as for [`Clients::start`].
///
/// # Panics
/// If npm is not installed.
pub fn browser_library(target: &str) -> PathBuf {
    folder(target).join("node_modules/socket.io-client/dist/socket.io.min.js")
}

/// An event of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientEvent {
    /// The client's name.
    pub client: String,
    /// The event's name, or `connect`, `disconnect`, `connect_error`, `upgrade`, `close`, `ack`.
    pub event: String,
    /// Its payload.
    pub data: Value,
}

/// A Node.js process with any number of clients. It ends when this is dropped.
pub struct Clients {
    process: Child,
    commands: Option<ChildStdin>,
    lines: UnboundedReceiver<ClientEvent>,
    /// Events that no call has returned yet.
    pending: Vec<ClientEvent>,
}

impl Clients {
    /// Starts the process. The library is installed below `target`, outside the sources: `env!("CARGO_TARGET_TMPDIR")`.
    ///
    /// # Panics
    /// If Node.js with npm is not installed.
    pub fn start(target: &str) -> Self {
        let mut process = Command::new("node")
            .arg("clients.mjs")
            .current_dir(folder(target))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node.js is needed for the tests of Socket.IO");
        let (sender, lines) = unbounded_channel();
        let output = BufReader::new(process.stdout.take().expect("the process with the clients works"));
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut line: Value =
                    serde_json::from_str(&line).expect("the process with the clients works");
                let text =
                    |value: &Value| value.as_str().expect("the process with the clients works").to_owned();
                let event = ClientEvent {
                    client: text(&line["client"]),
                    event: text(&line["event"]),
                    data: line["data"].take(),
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let commands = process.stdin.take();
        Self { process, commands, lines, pending: Vec::new() }
    }

    fn command(&mut self, command: &Value) {
        writeln!(self.commands.as_mut().expect("the process with the clients works"), "{command}")
            .expect("the process with the clients works");
    }

    /// Opens a client; `options` are those of the library, and `resume`: whether it sends the id of its last
    /// notification each time it connects.
    pub fn open(&mut self, client: &str, url: &str, options: &Value) {
        self.command(&json!({"open": client, "url": url, "options": options}));
    }

    /// Disconnects a client; it does not reconnect.
    pub fn disconnect(&mut self, client: &str) {
        self.command(&json!({"disconnect": client}));
    }

    /// Sends an event.
    pub fn emit(&mut self, client: &str, event: &str, data: &Value) {
        self.command(&json!({"emit": client, "event": event, "data": data}));
    }

    /// Sends an event and waits for its acknowledgement.
    ///
    /// # Panics
    /// If none arrives.
    pub async fn emit_with_ack(&mut self, client: &str, event: &str, data: &Value) -> Value {
        self.command(&json!({"emit": client, "event": event, "data": data, "ack": true}));
        self.next(client, "ack").await
    }

    /// Waits for the next event of this name; later calls return the other events.
    ///
    /// # Panics
    /// If none arrives.
    pub async fn next(&mut self, client: &str, event: &str) -> Value {
        let is_it = |one: &ClientEvent| one.client == client && one.event == event;
        if let Some(at) = self.pending.iter().position(is_it) {
            return self.pending.remove(at).data;
        }
        let deadline = Instant::now() + EVENT_TIMEOUT;
        loop {
            let next = timeout_at(deadline, self.lines.recv()).await;
            let Ok(Some(next)) = next else { panic!("no {event} for {client}, but {:?}", self.pending) };
            if is_it(&next) {
                return next.data;
            }
            self.pending.push(next);
        }
    }

    /// Returns all events of a client up to and including the next one of this name.
    ///
    /// # Panics
    /// If no such event arrives.
    pub async fn all_until(&mut self, client: &str, event: &str) -> Vec<ClientEvent> {
        let data = self.next(client, event).await;
        let (mine, others) =
            std::mem::take(&mut self.pending).into_iter().partition(|one| one.client == client);
        self.pending = others;
        let mut mine: Vec<_> = mine;
        mine.push(ClientEvent { client: client.to_owned(), event: event.to_owned(), data });
        mine
    }

    /// Returns whether an event of this name has arrived and was not returned yet.
    pub fn has(&self, client: &str, event: &str) -> bool {
        self.pending.iter().any(|one| one.client == client && one.event == event)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.commands.take();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
