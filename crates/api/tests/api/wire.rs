//! Malformed, unusual and incomplete HTTP requests.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::helpers::{Server, User};

async fn server() -> (Server, User, test_support::TestDatabase) {
    let db = test_support::TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    (server, ann, db)
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Everything that comes back until the server closes the connection.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(server).await;
    // What the server refuses it need not read.
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_are_answered_and_none_hurts() {
    let (server, ann, _db) = server().await;
    let line = |line: &str, rest: &str| {
        format!(
            "{line}\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n{rest}",
            ann.access
        )
        .into_bytes()
    };
    let long = "x".repeat(9000);
    let mut binary =
        b"GET /users/me HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\nX-Request-Id: \xff\r\n".to_vec();
    binary.extend(b"Origin: \xff\r\nCookie: \xff\r\nUser-Agent: \xff\r\nAuthorization: Bearer \xff\r\n\r\n");
    for (bytes, status) in [
        (binary, "401"),
        (line("GET /users/me HTTP/1.0", "\r\n"), "200"),
        (line("GET http://localhost/users/me HTTP/1.1", "\r\n"), "200"),
        (line("GET //users///me HTTP/1.1", "\r\n"), "200"),
        (line("GET /posts/1/../1 HTTP/1.1", "\r\n"), "404"),
        (line("GET /posts/?user_id=%FF&page=%E0%A4%A HTTP/1.1", "\r\n"), "422"),
        (line(&format!("GET /posts/?cursor={long} HTTP/1.1"), "\r\n"), "400"),
        (line(&format!("GET /{long} HTTP/1.1"), "\r\n"), "404"),
        (line("OPTIONS * HTTP/1.1", "\r\n"), "404"),
        (line("BREW /posts HTTP/1.1", "\r\n"), "405"),
        (line("POST /posts HTTP/1.1", "Content-Length: 2\r\nContent-Type: \"\r\n\r\n{}"), "415"),
        (line("POST /posts HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), "400"),
    ] {
        let answer = raw(&server, &bytes).await;
        let begin = String::from_utf8_lossy(&bytes[..50]).into_owned();
        assert_eq!(answer.get(9..12), Some(status), "{begin}: {answer}");
        if status != "200" {
            assert!(
                answer.to_lowercase().contains("content-type: application/problem+json"),
                "{begin}: {answer}"
            );
        }
    }
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_http_gets_a_bare_status_and_closes_the_connection() {
    let (server, ann, _db) = server().await;
    let huge = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000));
    // Good requests come before it on the same connection, or none.
    for before in ["", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        for (bytes, status) in [
            (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], 400),
            (b"GET\r\n\r\n", 400),
            (b"GET / HTTP/9.9\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (huge.as_bytes(), 431),
        ] {
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            let mut stream = connect(&server).await;
            if !before.is_empty() {
                stream.write_all(before.as_bytes()).await.unwrap();
                let mut answer = [0; 16];
                stream.read_exact(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 200"));
            }
            let _ = stream.write_all(bytes).await;
            let answers = rest(&mut stream).await;
            let answer = answers.find("HTTP/1.1 4").map(|at| &answers[at..]).unwrap_or_default();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
            assert_eq!(head.get(9..12), Some(status.to_string().as_str()), "{begin:?}: {answers}");
            assert!(head.to_lowercase().contains("content-length: 0"), "{begin:?}: {answers}");
            assert_eq!(body, "", "{begin:?}: {answers}");
        }
    }
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_an_announced_length_are_bounded_too() {
    let (server, ann, _db) = server().await;
    for content_type in
        ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        let chunks =
            std::iter::once("--x\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\n".to_owned());
        let chunks = chunks.chain((0..40).map(|_| "a".repeat(64 * 1024))).map(Ok::<_, std::io::Error>);
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
        let request = request.header("content-type", content_type).body(body);
        assert_eq!(server.send(request).await.status, 413, "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_break_off_leave_nothing() {
    let (server, ann, _db) = server().await;
    let head = format!(
        "POST /posts/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 500000\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"media\"; \
         filename=\"a.png\"\r\n\r\n",
        ann.access
    );
    join_all((0..60).map(async |n| {
        let mut stream = connect(&server).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"\x89PNG\r\n\x1a\n").await.unwrap();
        // What is refused meanwhile need not arrive.
        let _ = stream.write_all(&vec![b'x'; n * 4000]).await;
        if n % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }))
    .await;
    let uploads = server.folder.path().join("uploads");
    let begun = Instant::now();
    while std::fs::read_dir(&uploads).unwrap().count() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(15), "files of broken uploads stay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 0);
    // As many may come at once as before.
    assert_eq!(server.app.bodies.upload_slots.available(), 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_answered_as_get_without_its_body() {
    let (server, ann, _db) = server().await;
    let post = server.new_post(&ann, "hi", false).await;
    let paths = [
        "/",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/livez",
        "/readyz",
        "/problems",
        "/posts",
        "/users/me",
        "/nowhere",
    ];
    for path in paths
        .map(str::to_owned)
        .into_iter()
        .chain([format!("/posts/{post}"), format!("/posts/{post}/comment")])
    {
        let get = server.get(&path, &ann).await;
        let head = server.send(server.request(Method::HEAD, &path).bearer_auth(&ann.access)).await;
        assert!(head.body.is_empty(), "{path}");
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-type", "content-length", "link", "x-content-type-options"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
}
