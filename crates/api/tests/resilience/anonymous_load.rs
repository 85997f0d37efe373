//! Anonymous clients cannot use up the server: its memory, connections and processors.

use std::time::Duration;

use futures_util::future::select_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::TestDatabase;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{Process, Server, wait_until};

const PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");

/// Sends a request with the first 250,000 bytes of its body from this address, then returns the status of the response.
async fn send_most(server: &Server, address: String) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /posts/ HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n\
         Content-Type: application/json\r\nContent-Length: 260000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may refuse it before all has arrived.
    let _ = stream.write_all(&vec![b' '; 250_000]).await;
    let mut response = [0; 12];
    stream.read_exact(&mut response).await.unwrap();
    String::from_utf8_lossy(&response[9..]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_memory_are_bounded_per_address_and_in_total() {
    let db = TestDatabase::sqlite().await;
    let settings = [PROXY, ("BODY_BYTES_PER_ADDRESS", "1100000"), ("BODY_BYTES_TOTAL", "2100000")];
    let server = Server::start_with(&db, &settings).await;
    let ann = server.create_user("ann").await;
    // Addresses of one IPv6 network count as one.
    let sending = (1..=5).map(|n| Box::pin(send_most(&server, format!("2001:db8:0:1::{n}")))).collect();
    let limit = Duration::from_secs(20);
    let (status, _, held) = timeout(limit, select_all::<Vec<_>>(sending)).await.unwrap();
    assert_eq!(status, "429");
    let elsewhere = (1..=5).map(|n| Box::pin(send_most(&server, format!("198.51.100.{n}"))));
    let (status, _, held) = timeout(limit, select_all(elsewhere.chain(held))).await.unwrap();
    assert_eq!(status, "503");
    // Small bodies still fit.
    server.create_post(&ann, "hi", false).await;
    drop(held);
    server.create_post(&ann, &"a".repeat(5000), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_long_texts_are_small() {
    let (server, ann, _db) = Server::start_with_user().await;
    let long = json!({"username": "ann", "password": "x".repeat(5000), "content": "x"});
    for path in [
        "/users/register",
        "/users/verify-otp",
        "/users/login",
        "/users/refresh",
        "/users/change-password",
        "/users/forgot-password",
        "/users/reset-password",
    ] {
        let refused = server.post(path, &ann, long.clone()).await;
        assert_eq!(refused.problem(), (413, "Payload Too Large"), "{path}");
        let chunks = [Ok::<_, std::io::Error>(long.to_string())];
        let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let request = server.request(Method::POST, path).bearer_auth(&ann.access).body(chunked);
        let refused = server.send(request.header("content-type", "application/json")).await;
        assert_eq!(refused.problem(), (413, "Payload Too Large"), "{path}");
    }
    let fields = [("username", "ann".to_owned()), ("password", "x".repeat(5000))];
    let form = server.request(Method::POST, "/users/login").form(&fields);
    assert_eq!(server.send(form).await.status, 413);
    let multipart =
        reqwest::multipart::Form::new().text("username", "ann").text("password", "x".repeat(5000));
    let request = server.request(Method::POST, "/users/login").multipart(multipart);
    assert_eq!(server.send(request).await.status, 413);
    // A text that is too long is reported as such.
    let too_long = server.post("/posts/", &ann, json!({"content": "x".repeat(100_000)})).await;
    assert_eq!(too_long.validation_error(), (422, "string_too_long"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_compressed_once_and_revalidated() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    for path in ["/docs", "/redoc", "/openapi.json", "/asyncapi.json"] {
        let get = async |headers: &[(&str, &str)]| {
            let request = server.request(Method::GET, path);
            server
                .send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
                .await
        };
        let plain = get(&[]).await;
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "{path}");
        let zipped = get(&[("accept-encoding", "br, gzip;q=0.8")]).await;
        assert_eq!(
            (zipped.status, zipped.header("content-encoding").as_deref()),
            (200, Some("gzip")),
            "{path}"
        );
        assert!(zipped.body.len() < plain.body.len() / 2, "{path}");
        assert!(zipped.body.starts_with(b"\x1f\x8b"), "{path}");
        for response in [&plain, &zipped] {
            assert_eq!(response.header("cache-control").as_deref(), Some("public, max-age=300"), "{path}");
            assert!(response.header("vary").unwrap().contains("Accept-Encoding"), "{path}");
        }
        let tag = plain.header("etag").unwrap();
        assert_eq!(zipped.header("etag").as_ref(), Some(&tag), "{path}");
        let current = get(&[("if-none-match", &format!("\"old\", {tag}"))]).await;
        assert_eq!((current.status, current.body.len()), (304, 0), "{path}");
        assert_eq!(current.header("etag"), Some(tag), "{path}");
        assert_eq!(get(&[("if-none-match", "\"old\"")]).await.status, 200, "{path}");
        let zipped_again = get(&[("accept-encoding", "gzip")]).await;
        assert_eq!(zipped_again.body, zipped.body, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_socket_messages_are_cut_off_and_occupy_no_place() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_changed(&db, &[("SOCKETS_PER_ADDRESS", "2")], |app| {
        app.bodies.pace.idle_timeout = Duration::from_secs(2);
    })
    .await;
    let begin_message = async |query: &str| {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let head = format!(
            "POST /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Length: 32000\r\n\r\n4"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut half = Vec::new();
    for _ in 0..3 {
        half.push(begin_message("").await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let handshake = server.request(Method::GET, "/socket.io/?EIO=4&transport=polling").send().await.unwrap();
    assert_eq!(handshake.status(), 200);
    let opened: Value = serde_json::from_str(&handshake.text().await.unwrap()[1..]).unwrap();
    for _ in 0..3 {
        half.push(begin_message(&format!("&sid={}", opened["sid"].as_str().unwrap())).await);
    }
    for mut stream in half {
        let mut response = Vec::new();
        timeout(Duration::from_secs(20), stream.read_to_end(&mut response)).await.unwrap().unwrap();
        assert!(response.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&response));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_limit_of_open_files_is_raised() {
    let mut server = Process::new(&[]);
    server.max_open_files = Some(64);
    server.launch().await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(TcpStream::connect(server.address()).await.unwrap());
    }
    server.get("/livez", None).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_an_address_are_bounded() {
    for (settings, is_bounded) in [(&[][..], true), (&[PROXY], false)] {
        let db = TestDatabase::sqlite().await;
        let settings = [&[("CONNECTIONS_PER_ADDRESS", "10")], settings].concat();
        let server = Server::start_with(&db, &settings).await;
        let mut open = Vec::new();
        for _ in 0..10 {
            open.push(TcpStream::connect(server.address()).await.unwrap());
        }
        let is_served = async || {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            let _ = stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .await;
            let mut response = Vec::new();
            let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut response)).await.unwrap();
            response.starts_with(b"HTTP/1.1 200")
        };
        assert_eq!(is_served().await, !is_bounded);
        open.clear();
        wait_until("the connections are closed", is_served).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_are_cut_off_and_hold_a_bounded_amount() {
    let db = TestDatabase::sqlite().await;
    let settings = [("BODY_BYTES_PER_ADDRESS", "1048576")];
    let server =
        Server::start_changed(&db, &settings, |app| app.connection_timeouts.unread = Duration::from_secs(3))
            .await;
    let ann = server.create_user("ann").await;
    let post = server.create_post(&ann, "hi", false).await;
    for _ in 0..100 {
        let comment = json!({"content": "\u{1F980}".repeat(2000)});
        server.post(&format!("/posts/{post}/comment"), &ann, comment).await.ok();
    }
    // A page has about 800 KB, more than the sockets of both sides buffer.
    let page = format!("/posts/{post}/comment?page_size=100");
    let request = async || {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address().parse().unwrap()).await.unwrap();
        let head = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
        stream
    };
    let mut unread = request().await;
    assert_eq!(server.get(&page, None).await.problem(), (429, "Too many requests"));
    assert_eq!(server.get(&format!("/posts/{post}/comment?page_size=5"), None).await.status, 200);
    wait_until("the client is cut off", async || server.get(&page, None).await.status == 200).await;
    let mut received = Vec::new();
    let _ = timeout(Duration::from_secs(20), unread.read_to_end(&mut received)).await.unwrap();
    assert!(received.len() < 700_000, "received {} bytes", received.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_to_connect_a_socket_are_limited() {
    let db = TestDatabase::sqlite().await;
    let settings = [("RATE_LIMIT_SCALE", "1"), ("RATE_LIMIT_DEFAULT", "1/1h")];
    let server = Server::start_with(&db, &settings).await;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        let request = server.request(Method::GET, "/socket.io/?EIO=4&transport=polling");
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    // Without a token, ten times the quota.
    assert_eq!((statuses[0], statuses[9], statuses[10]), (200, 200, 429));
}
