//! Connections end with their sessions.

use std::time::Duration;

use domain::sessions::{SessionAuthenticator as _, SessionId, SessionObserver as _};
use serde_json::json;

use test_support::socketio::Clients;

use crate::{
    raw::{self, WebSocket},
    server::{TestServer, token, token_for},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_session_closes_its_connections_and_no_others() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for (name, session, transports) in
        [("ws", 1, ["websocket"]), ("poll", 1, ["polling"]), ("other", 2, ["websocket"])]
    {
        let options = json!({"auth": {"token": token(1, session)}, "transports": transports});
        clients.open(name, &server.url(), &options);
        clients.next(name, "connected").await;
    }
    let options = json!({"auth": {"token": token(1, 1)}, "transports": ["polling", "websocket"]});
    clients.open("upgraded", &server.url(), &options);
    clients.next("upgraded", "upgrade").await;
    server.memory.end(1);
    server.notifier.ended(&[SessionId(1)]);
    for name in ["ws", "poll", "upgraded"] {
        let reason = clients.next(name, "disconnect").await;
        // After these reasons a client reconnects by itself.
        assert!(reason == "transport close" || reason == "transport error", "{name}: {reason}");
        let error = clients.next(name, "connect_error").await;
        assert_eq!(error["data"]["code"], "invalid_token", "{name}");
    }
    let id = server.like(1, 1);
    assert_eq!(clients.next("other", "new_notification").await["id"], id);
    assert!(!clients.has("other", "disconnect"));
}

/// A client that has probed its websocket no longer polls: it notices an end only on the websocket, and only after that
/// has become its transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_that_ends_during_an_upgrade_lets_the_upgrade_finish() {
    let server = TestServer::start();
    for (session, finishes) in [(1, true), (2, false)] {
        let target = "/socket.io/?EIO=4&transport=polling";
        let opened = raw::http(&server, "GET", target, "").await;
        let target = format!("{target}&sid={}", raw::sid(&opened));
        raw::http(&server, "POST", &target, &format!("40{{\"token\":\"{}\"}}", token(1, session))).await;
        server.until("connected", |now| now.open == 1).await;
        let mut socket = WebSocket::open(&server, &format!("&sid={}", raw::sid(&opened))).await;
        socket.send("2probe").await;
        socket.read_until("3probe").await;
        server.notifier.ended(&[SessionId(session)]);
        // Nothing is sent any more.
        server.like(1, session);
        let early = tokio::time::timeout(Duration::from_millis(50), socket.read_to_end()).await;
        assert!(early.is_err(), "the websocket ended within its upgrade");
        if finishes {
            socket.send("5").await;
        }
        let rest = socket.read_to_end().await;
        assert!(!rest.contains("new_notification"), "{rest}");
        server.until("gone", |now| now.open == 0 && now.transports == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_clients_reconnect() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for transport in ["websocket", "polling"] {
        let options = json!({"auth": {"token": token(1, 1)}, "transports": [transport]});
        clients.open(transport, &server.url(), &options);
        clients.next(transport, "connected").await;
    }
    server.sockets.close(Duration::from_millis(100)).await;
    for transport in ["websocket", "polling"] {
        clients.next(transport, "disconnect").await;
        // It tries, and the server refuses.
        clients.next(transport, "connect_error").await;
    }
    server.until("empty", |now| now.open == 0 && now.transports == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_that_ends_after_authentication_cannot_connect() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    // The repository still accepts the token, as if it was read before the session ended.
    server.memory.mark_ended(&[SessionId(1)]);
    server.notifier.ended(&[SessionId(1)]);
    clients.open("late", &server.url(), &json!({"auth": {"token": token(1, 1)}, "reconnection": false}));
    clients.next("late", "disconnect").await;
    assert!(!clients.has("late", "connected"));
    assert_eq!(server.sockets.connected_users(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiring_token_is_announced_and_ends_the_connection() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    // The process with the clients starts slowly.
    clients.open("first", &server.url(), &json!({"auth": {"token": token(2, 2)}}));
    clients.next("first", "connected").await;
    let options = json!({"auth": {"token": token_for(1, 1, 5)}, "reconnection": false});
    clients.open("a", &server.url(), &options);
    let notice = clients.next("a", "session_expiring").await;
    assert!(notice["expires_in"].as_i64().unwrap() <= 5);
    clients.next("a", "disconnect").await;
    assert_eq!(server.sockets.metrics().expired, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_token_keeps_the_connection() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("a", &server.url(), &json!({"auth": {"token": token_for(1, 1, 6)}}));
    clients.next("a", "session_expiring").await;
    let response = clients.emit_with_ack("a", "authenticate", &json!({"token": token_for(1, 2, 69)})).await;
    assert_eq!(response["success"], true);
    // The next warning shows that the first expiry has passed.
    clients.next("a", "session_expiring").await;
    assert!(!clients.has("a", "disconnect"));
    // It depends on the new session now.
    server.notifier.ended(&[SessionId(1)]);
    server.like(1, 1);
    clients.next("a", "new_notification").await;
    server.notifier.ended(&[SessionId(2)]);
    clients.next("a", "disconnect").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_token_or_one_of_another_user_changes_nothing() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("a", &server.url(), &json!({"auth": {"token": token(1, 1)}}));
    clients.next("a", "connected").await;
    for body in [json!({"token": "nonsense"}), json!({"token": token(2, 2)}), json!(null), json!("x")] {
        let response = clients.emit_with_ack("a", "authenticate", &body).await;
        assert_eq!(response["success"], false, "{body}");
        assert!(response["error"]["code"].is_string(), "{body}");
    }
    server.like(1, 1);
    clients.next("a", "new_notification").await;
}
