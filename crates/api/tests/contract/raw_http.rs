//! Requests below the level of an HTTP client.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::Server;

/// Sends bytes and returns everything received until the server closes the connection.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    // The server may reject a request without reading all of it.
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut response)).await.unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_get_documented_statuses() {
    let (server, ann, _db) = Server::start_with_user().await;
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
        let response = raw(&server, &bytes).await;
        let begin = String::from_utf8_lossy(&bytes[..50]).into_owned();
        assert_eq!(response.get(9..12), Some(status), "{begin}: {response}");
        if status != "200" {
            assert!(
                response.to_lowercase().contains("content-type: application/problem+json"),
                "{begin}: {response}"
            );
        }
    }
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_http_gets_a_bare_status_and_closes_the_connection() {
    let (server, ann, _db) = Server::start_with_user().await;
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
            let mut responses = String::new();
            // The server closes the connection without reading the rest of a huge request. The system may then reset the
            // connection before it has sent the response.
            for _ in 0..5 {
                let mut stream = TcpStream::connect(server.address()).await.unwrap();
                if !before.is_empty() {
                    stream.write_all(before.as_bytes()).await.unwrap();
                    let mut response = [0; 16];
                    stream.read_exact(&mut response).await.unwrap();
                    assert!(response.starts_with(b"HTTP/1.1 200"));
                }
                let _ = stream.write_all(bytes).await;
                responses = rest(&mut stream).await;
                if responses.contains("HTTP/1.1 4") {
                    break;
                }
            }
            let response = responses.find("HTTP/1.1 4").map(|at| &responses[at..]).unwrap_or_default();
            let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
            assert_eq!(head.get(9..12), Some(status.to_string().as_str()), "{begin:?}: {responses}");
            assert!(head.to_lowercase().contains("content-length: 0"), "{begin:?}: {responses}");
            assert_eq!(body, "", "{begin:?}: {responses}");
        }
    }
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
}
