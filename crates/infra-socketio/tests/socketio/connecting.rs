//! Authentication, refusals, and the first event.

use api_types::Origins;
use infra_socketio::SocketConfig;
use serde_json::{Value, json};

use test_support::socketio::Clients;

use crate::server::{TestServer, token};

const TRANSPORTS: [&[&str]; 4] =
    [&["websocket"], &["polling"], &["polling", "websocket"], &["websocket", "polling"]];

/// Options of a client that sends its token in `location`.
fn options_with_token(location: &str, token: &str) -> Value {
    match location {
        "auth" => json!({"auth": {"token": token}}),
        "query" => json!({"query": {"token": token}}),
        _ => json!({"extraHeaders": {"Authorization": format!("Bearer {token}")}}),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transport_connects_with_the_token_in_every_place() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    let mut user = 100;
    for transports in TRANSPORTS {
        for location in ["auth", "query", "header"] {
            user += 1;
            let name = format!("{}/{location}", transports.join("+"));
            let mut options = options_with_token(location, &token(user, user));
            options["transports"] = json!(transports);
            server.memory.store(user, domain::notifications::Activity::Follow);
            clients.open(&name, &server.url(), &options);
            let connected = clients.next(&name, "connected").await;
            assert_eq!(
                connected,
                json!({"message": "Connected to notification service", "user_id": user, "unread_count": 1}),
                "{name}"
            );
            if transports == ["polling", "websocket"] {
                assert_eq!(clients.next(&name, "upgrade").await, "websocket", "{name}");
            }
            let id = server.like(user, 7);
            let event = clients.next(&name, "new_notification").await;
            assert_eq!(event["id"], id, "{name}");
            assert_eq!(event["message"], "ann liked your post", "{name}");
            assert_eq!(event.get("replayed"), None, "{name}");
        }
    }
    assert_eq!(server.sockets.connected_users(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_client_receives_the_problem_and_is_closed() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for transports in TRANSPORTS {
        for (auth, code) in [
            (json!({"token": "nonsense"}), "invalid_token"),
            (json!({}), "not_authenticated"),
            (json!({"token": null}), "not_authenticated"),
            (json!({"token": token(13, 1)}), "not_verified"),
        ] {
            let name = format!("{}/{auth}", transports.join("+"));
            clients.open(
                &name,
                &server.url(),
                &json!({"auth": auth, "transports": transports, "reconnection": false}),
            );
            let error = clients.next(&name, "connect_error").await;
            assert_eq!(error["message"], "Connection rejected by server", "{name} {error}");
            assert_eq!(error["data"]["code"], code, "{name}");
            assert_eq!(error["data"]["type"], format!("/problems/{code}"), "{name}");
            clients.next(&name, "close").await;
            assert!(!clients.has(&name, "connect"), "{name}");
        }
    }
    server.until("all gone", |now| now.transports == 0 && now.rejected == 16).await;
    assert_eq!(server.sockets.connected_users(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_client_that_stays_is_closed() {
    let server = TestServer::start();
    // The official client leaves by itself after a refusal; this one does not.
    let mut socket = crate::raw::WebSocket::open(&server, "").await;
    socket.send("40{\"token\":\"nonsense\"}").await;
    let sent = socket.read_to_end().await;
    assert!(sent.contains("44{"), "{sent}");
    assert!(sent.contains("\"data\":{"), "{sent}");
    assert!(
        sent.matches("44{").count() == 1 && sent.ends_with('}'),
        "the refusal is not the last frame: {sent}"
    );
    server.until("gone", |now| now.transports == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_sent_before_the_response_are_handled() {
    let server = TestServer::start();
    let hello = format!("40{{\"token\":\"{}\"}}", token(1, 1));
    let mut socket = crate::raw::WebSocket::open_with_frames(&server, "", &[&hello]).await;
    let sent = socket.read_until("\"connected\"").await;
    assert!(sent.contains("\"user_id\":1"), "{sent}");
    let mut refused =
        crate::raw::WebSocket::open_with_frames(&server, "", &["40{\"token\":\"nonsense\"}"]).await;
    let sent = refused.read_to_end().await;
    assert!(sent.contains("\"data\":{"), "{sent}");
    drop(socket);
    server.until("gone", |now| now.transports == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_origins_get_no_websocket() {
    let origins = Origins::parse("https://front.example").unwrap();
    let server = TestServer::start_with(SocketConfig { origins, ..SocketConfig::default() });
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    let mut options =
        json!({"auth": {"token": token(1, 1)}, "transports": ["websocket"], "reconnection": false});
    options["extraHeaders"] = json!({"Origin": "https://evil.example"});
    clients.open("evil", &server.url(), &options);
    assert_eq!(clients.next("evil", "connect_error").await["message"], "websocket error");
    for good in ["https://front.example".to_owned(), server.url()] {
        options["extraHeaders"] = json!({"Origin": good});
        clients.open(&good, &server.url(), &options);
        clients.next(&good, "connected").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connected_users_counts_users_not_devices() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for (name, user) in [("a", 1), ("b", 1), ("c", 2)] {
        clients.open(name, &server.url(), &json!({"auth": {"token": token(user, 1)}}));
        clients.next(name, "connected").await;
    }
    assert_eq!(server.sockets.connected_users(), 2);
    for name in ["a", "b", "c"] {
        clients.disconnect(name);
    }
    server.until("empty", |now| now.users == 0 && now.open == 0 && now.transports == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_events_are_ignored() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("a", &server.url(), &json!({"auth": {"token": token(1, 1)}}));
    clients.next("a", "connected").await;
    clients.emit("a", "nonsense", &json!({"x": [1, 2]}));
    let response = clients.emit_with_ack("a", "authenticate", &json!({"token": token(1, 1)})).await;
    assert_eq!(response["success"], true);
    server.like(1, 1);
    clients.next("a", "new_notification").await;
    assert!(!clients.has("a", "disconnect"));
}
