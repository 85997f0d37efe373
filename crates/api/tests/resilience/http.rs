//! Ambiguous, slow and idle HTTP connections.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::report;
use crate::harness::Process;

/// Requests that two servers could parse differently, or that are far too large.
fn broken() -> Vec<(&'static str, String)> {
    let head = "POST /users/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let chunk = "2\r\n{}\r\n0\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: a\r\n";
    vec![
        (
            "length and chunks",
            format!("{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
        ),
        (
            "chunks and length",
            format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{chunk}"),
        ),
        ("two lengths", format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}} ")),
        ("a list of lengths", format!("{head}Content-Length: 2, 3\r\n\r\n{{}} ")),
        ("a signed length", format!("{head}Content-Length: +2\r\n\r\n{{}}")),
        ("a negative length", format!("{head}Content-Length: -2\r\n\r\n{{}}")),
        ("chunks twice", format!("{head}Transfer-Encoding: chunked, chunked\r\n\r\n{chunk}")),
        ("chunks not last", format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n{chunk}")),
        ("an unknown encoding", format!("{head}Transfer-Encoding: xchunked\r\n\r\n{chunk}")),
        ("a size that is none", format!("{head}Transfer-Encoding: chunked\r\n\r\n0x2\r\n{{}}\r\n0\r\n\r\n")),
        ("a space before the colon", format!("{head}Content-Length : 2\r\n\r\n{{}}")),
        ("a folded line", format!("{get}X-A: b\r\n c\r\n\r\n")),
        ("a bare CR", format!("{get}X-A: b\rX-B: c\r\n\r\n")),
        ("a NUL", format!("{get}X-A: b\0c\r\n\r\n")),
        ("a giant header", format!("{get}X-A: {}\r\n\r\n", "a".repeat(1 << 20))),
        ("many headers", format!("{get}{}\r\n", "X-A: b\r\n".repeat(10_000))),
        ("a giant path", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1 << 20))),
    ]
}

/// Sends bytes and returns everything received until the server closes the connection, or `None` if it does not.
async fn raw(server: &Process, bytes: &[u8], limit: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let talk = async {
        // The server may reject a request and close before all of it is sent.
        let _ = stream.write_all(bytes).await;
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await;
        String::from_utf8_lossy(&response).into_owned()
    };
    timeout(limit, talk).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_framing_is_rejected_and_closes_the_connection() {
    let mut server = Process::new(&[]);
    server.launch().await;
    let mut failures = Vec::new();
    for (case, request) in &broken() {
        // A request that follows directly must not be parsed as a separate one.
        let smuggled = format!("{request}GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
        match raw(&server, smuggled.as_bytes(), Duration::from_secs(30)).await {
            Some(response) if response.is_empty() || is_refused(&response) => {}
            other => failures.push(format!("{case}: {other:?}")),
        }
        assert!(server.is_ready().await, "not ready after {case}");
    }
    report("broken requests", broken().len(), &failures);
}

/// Returns whether the response is a single rejection.
fn is_refused(response: &str) -> bool {
    let refusals = ["HTTP/1.1 400", "HTTP/1.1 414", "HTTP/1.1 431", "HTTP/1.1 501"];
    response.matches("HTTP/1.1 ").count() == 1 && refusals.iter().any(|refusal| response.starts_with(refusal))
}

/// RFC 9112 allows a server to accept a bare LF as a line end, but it must not help to smuggle requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_lf_line_ends_smuggle_no_request() {
    let mut server = Process::new(&[]);
    server.launch().await;
    let mut failures = Vec::new();
    let requests = [
        "GET /livez HTTP/1.1\nHost: a\nConnection: close\n\n",
        "GET /livez HTTP/1.1\r\nHost: a\nConnection: close\r\n\r\n",
        "POST /users/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: b\nContent-Length: 2\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for request in requests {
        match raw(&server, request.as_bytes(), Duration::from_secs(30)).await {
            Some(response) if response.matches("HTTP/1.1 ").count() <= 1 => {
                if request.contains("chunked") && !response.is_empty() && !is_refused(&response) {
                    failures.push(format!("{request:?}: {response}"));
                }
            }
            other => failures.push(format!("{request:?}: {other:?}")),
        }
    }
    report("lines that end by LF", requests.len(), &failures);
}

/// 95th percentile of the response time of a well-behaved client.
async fn response_time(server: &Process) -> Duration {
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        let response = server.try_send(server.request(Method::GET, "/livez")).await;
        assert_eq!(response.map(|(status, _)| status), Some(200));
        times.push(start.elapsed());
    }
    times.sort();
    times[94]
}

async fn open_connections(server: &Process, connections: usize) -> Vec<TcpStream> {
    let opened = (0..connections).map(|_| TcpStream::connect(server.address()));
    join_all(opened).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_delay_others() {
    let mut server = Process::new(&[]);
    server.launch().await;
    let connections = open_connections(&server, 300).await;
    response_time(&server).await;
    report("idle connections", connections.len(), &[]);
}

/// Sends `first`, then a byte every second, and returns when the server closes the connection.
async fn send_slowly(server: &Process, first: &str) -> Duration {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let start = Instant::now();
    stream.write_all(first.as_bytes()).await.unwrap();
    let mut received = [0; 4096];
    loop {
        match timeout(Duration::from_secs(1), stream.read(&mut received)).await {
            Ok(Ok(0) | Err(_)) => return start.elapsed(),
            Ok(Ok(_)) => {}
            Err(_) if stream.write_all(b"a").await.is_err() => return start.elapsed(),
            Err(_) => assert!(start.elapsed() < Duration::from_mins(2), "it is never closed"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn slow_clients_are_cut_off_and_do_not_delay_others() {
    let mut server = Process::new(&[]);
    server.launch().await;
    let before = response_time(&server).await;
    let connections = open_connections(&server, 300).await;
    let heads = (0..50).map(|_| send_slowly(&server, "GET / HTTP/1.1\r\nHost: a\r\nX-A: "));
    let body = "POST /users/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
    let bodies = (0..50).map(|_| send_slowly(&server, body));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        response_time(&server).await
    };
    let (heads, bodies, during) = tokio::join!(join_all(heads), join_all(bodies), meanwhile);
    let mut failures = Vec::new();
    // Limits: half a minute, also for a body that stays below the minimum rate.
    let slow = heads.iter().filter(|took| **took > Duration::from_secs(30));
    failures.extend(slow.map(|took| format!("a slow head: {took:?}")));
    let slow = bodies.iter().filter(|took| **took > Duration::from_secs(30));
    failures.extend(slow.map(|took| format!("a slow body: {took:?}")));
    // Below 20 ms, differences are noise.
    if during > (before * 2).max(Duration::from_millis(20)) {
        failures.push(format!("a well-behaved client waits {during:?} instead of {before:?}"));
    }
    for mut one in connections {
        if timeout(Duration::from_secs(5), one.read(&mut [0; 16])).await.is_err() {
            failures.push("an idle connection is still open".to_owned());
        }
    }
    report("slow clients", heads.len() + bodies.len() + 300, &failures);
}
