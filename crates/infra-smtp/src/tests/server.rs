//! A mail server that can be told to misbehave.

use std::{
    collections::HashMap,
    future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// A line that a client sent.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) is_encrypted: bool,
}

#[derive(Default)]
struct Shared {
    answers: HashMap<&'static str, &'static str>,
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
    /// A server that answers the named commands (`GREETING` and `.` too) with the given line. `hang` means never,
    /// `close` that it hangs up.
    pub(super) async fn start(answers: &[(&'static str, &'static str)]) -> Self {
        Self::with(answers, None, None).await
    }

    /// A server that speaks TLS from the first byte.
    pub(super) async fn implicit_tls(acceptor: TlsAcceptor) -> Self {
        Self::with(&[], Some(acceptor), None).await
    }

    /// A server that offers STARTTLS.
    pub(super) async fn starttls(acceptor: TlsAcceptor) -> Self {
        Self::with(&[], None, Some(acceptor)).await
    }

    async fn with(
        answers: &[(&'static str, &'static str)],
        implicit: Option<TlsAcceptor>,
        starttls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared =
            Arc::new(Shared { answers: answers.iter().copied().collect(), starttls, ..Shared::default() });
        let for_task = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                for_task.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, implicit.clone(), for_task.clone()));
            }
        });
        Self { port, shared, task }
    }

    /// Everything that clients said.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.shared.lines.lock().unwrap().clone()
    }

    /// How often a command came.
    pub(super) fn count(&self, command: &str) -> usize {
        self.lines().iter().filter(|line| line.text == command).count()
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, implicit: Option<TlsAcceptor>, shared: Arc<Shared>) {
    if let Some(acceptor) = implicit {
        if let Ok(stream) = acceptor.accept(stream).await {
            talk(stream, &shared, Stage { greets: true, is_encrypted: true }).await;
        }
        return;
    }
    let left = talk(stream, &shared, Stage { greets: true, is_encrypted: false }).await;
    if let (Some(stream), Some(acceptor)) = (left, &shared.starttls)
        && let Ok(stream) = acceptor.accept(stream).await
    {
        talk(stream, &shared, Stage { greets: false, is_encrypted: true }).await;
    }
}

#[derive(Clone, Copy)]
struct Stage {
    greets: bool,
    is_encrypted: bool,
}

/// Serves a client to the end, or until it is to continue with TLS.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: &Shared, stage: Stage) -> Option<S> {
    let mut stream = BufStream::new(stream);
    if stage.greets {
        say(&mut stream, shared.answers.get("GREETING").unwrap_or(&"220 ready")).await?;
    }
    loop {
        let line = hear(&mut stream, shared, stage).await?;
        let command = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        if command == "STARTTLS" && shared.starttls.is_some() {
            say(&mut stream, "220 go ahead").await?;
            return Some(stream.into_inner());
        }
        say(&mut stream, &answer(shared, &command, stage)).await?;
        if command == "DATA" && !shared.answers.contains_key("DATA") {
            while hear(&mut stream, shared, stage).await? != "." {}
            say(&mut stream, shared.answers.get(".").unwrap_or(&"250 taken")).await?;
        }
        if command == "QUIT" {
            return None;
        }
    }
}

fn answer(shared: &Shared, command: &str, stage: Stage) -> String {
    let usual = match command {
        "EHLO" if shared.starttls.is_some() && !stage.is_encrypted => "250-localhost\r\n250 STARTTLS",
        "EHLO" => "250-localhost\r\n250 AUTH PLAIN",
        "DATA" => "354 go on",
        "AUTH" => "235 welcome",
        "STARTTLS" => "502 not here",
        "QUIT" => "221 bye",
        _ => "250 fine",
    };
    (*shared.answers.get(command).unwrap_or(&usual)).to_owned()
}

async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
    shared: &Shared,
    stage: Stage,
) -> Option<String> {
    let mut bytes = Vec::new();
    stream.read_until(b'\n', &mut bytes).await.ok().filter(|length| *length > 0)?;
    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    shared.lines.lock().unwrap().push(Line { text: text.clone(), is_encrypted: stage.is_encrypted });
    Some(text)
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>, line: &str) -> Option<()> {
    match line {
        "hang" => future::pending().await,
        "close" => return None,
        _ => {}
    }
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
