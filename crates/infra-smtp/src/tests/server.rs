//! A mail server with configurable responses.

use std::{
    collections::HashMap,
    future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time,
};
use tokio_rustls::TlsAcceptor;

/// Delay of a `late` response.
pub(super) const LATE_RESPONSE_DELAY: Duration = Duration::from_millis(700);

/// A line sent by a client.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) is_encrypted: bool,
}

#[derive(Default)]
struct Shared {
    responses: HashMap<&'static str, &'static str>,
    starttls: Option<TlsAcceptor>,
    lines: Mutex<Vec<Line>>,
    connections: AtomicUsize,
}

/// Runs until it is dropped.
pub(super) struct TestServer {
    pub(super) port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// Starts a server with responses by command; `GREETING` and `.` count as commands. `hang` never responds, `close`
    /// closes the connection, and a response that begins with `late` is delayed.
    pub(super) async fn start(responses: &[(&'static str, &'static str)]) -> Self {
        Self::start_with(responses, None, None).await
    }

    /// Starts a server with TLS from the first byte.
    pub(super) async fn implicit_tls(acceptor: TlsAcceptor) -> Self {
        Self::start_with(&[], Some(acceptor), None).await
    }

    /// Starts a server that offers STARTTLS.
    pub(super) async fn starttls(acceptor: TlsAcceptor) -> Self {
        Self::start_with(&[], None, Some(acceptor)).await
    }

    async fn start_with(
        responses: &[(&'static str, &'static str)],
        implicit: Option<TlsAcceptor>,
        starttls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let responses = responses.iter().copied().collect();
        let shared = Arc::new(Shared { responses, starttls, ..Shared::default() });
        let for_task = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                for_task.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, implicit.clone(), for_task.clone()));
            }
        });
        Self { port, shared, task }
    }

    /// Returns all lines sent by clients.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.shared.lines.lock().unwrap().clone()
    }

    /// Counts how often a command was received.
    pub(super) fn count(&self, command: &str) -> usize {
        self.lines().iter().filter(|line| line.text == command).count()
    }

    /// Counts the accepted connections.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, implicit: Option<TlsAcceptor>, shared: Arc<Shared>) {
    if let Some(acceptor) = implicit {
        if let Ok(stream) = acceptor.accept(stream).await {
            serve_commands(stream, &shared, Phase { sends_greeting: true, is_encrypted: true }).await;
        }
        return;
    }
    let upgraded = serve_commands(stream, &shared, Phase { sends_greeting: true, is_encrypted: false }).await;
    if let (Some(stream), Some(acceptor)) = (upgraded, &shared.starttls)
        && let Ok(stream) = acceptor.accept(stream).await
    {
        serve_commands(stream, &shared, Phase { sends_greeting: false, is_encrypted: true }).await;
    }
}

#[derive(Clone, Copy)]
struct Phase {
    sends_greeting: bool,
    is_encrypted: bool,
}

/// Serves a client until it disconnects. Returns the stream if it is to be upgraded to TLS.
async fn serve_commands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    shared: &Shared,
    phase: Phase,
) -> Option<S> {
    let mut stream = BufStream::new(stream);
    if phase.sends_greeting {
        respond(&mut stream, shared.responses.get("GREETING").unwrap_or(&"220 ready")).await?;
    }
    loop {
        let line = read_line(&mut stream, shared, phase).await?;
        let command = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        if command == "STARTTLS" && shared.starttls.is_some() {
            respond(&mut stream, "220 go ahead").await?;
            return Some(stream.into_inner());
        }
        respond(&mut stream, response_to(&command, shared, phase)).await?;
        if command == "DATA" && !shared.responses.contains_key("DATA") {
            while read_line(&mut stream, shared, phase).await? != "." {}
            respond(&mut stream, shared.responses.get(".").unwrap_or(&"250 accepted")).await?;
        }
        if command == "QUIT" {
            return None;
        }
    }
}

fn response_to(command: &str, shared: &Shared, phase: Phase) -> &'static str {
    let default = match command {
        "EHLO" if shared.starttls.is_some() && !phase.is_encrypted => "250-localhost\r\n250 STARTTLS",
        "EHLO" => "250-localhost\r\n250 AUTH PLAIN",
        "DATA" => "354 go on",
        "AUTH" => "235 welcome",
        "STARTTLS" => "502 not supported",
        "QUIT" => "221 bye",
        _ => "250 ok",
    };
    shared.responses.get(command).copied().unwrap_or(default)
}

async fn read_line<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
    shared: &Shared,
    phase: Phase,
) -> Option<String> {
    let mut bytes = Vec::new();
    stream.read_until(b'\n', &mut bytes).await.ok().filter(|length| *length > 0)?;
    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    shared.lines.lock().unwrap().push(Line { text: text.clone(), is_encrypted: phase.is_encrypted });
    Some(text)
}

async fn respond<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>, response: &str) -> Option<()> {
    match response {
        "hang" => future::pending().await,
        "close" => return None,
        _ => {}
    }
    let line = if let Some(line) = response.strip_prefix("late ") {
        time::sleep(LATE_RESPONSE_DELAY).await;
        line
    } else {
        response
    };
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
