//! Limits against hostile and slow clients.

use std::time::Duration;

use domain::{
    notifications::{Activity, LiveEvent, Notifier},
    posts::PostId,
    sessions::{SessionId, SessionObserver as _},
};
use infra_socketio::{ByteBudget, SocketConfig};
use serde_json::json;

use test_support::socketio::Clients;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    raw::{self, WebSocket},
    server::{TIMEOUT, TestServer, token},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oldest_of_too_many_devices_is_closed() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for device in 0..11 {
        let name = format!("device {device}");
        let options = json!({"auth": {"token": token(1, 1)}, "reconnection": false});
        clients.open(&name, &server.url(), &options);
        clients.next(&name, "connected").await;
    }
    clients.next("device 0", "disconnect").await;
    server.until("ten left", |now| now.open == 10 && now.evicted == 1).await;
    let id = server.like(1, 1);
    for device in 1..11 {
        assert_eq!(clients.next(&format!("device {device}"), "new_notification").await["id"], id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_has_a_limited_number_of_connections() {
    // A client that leaves without authenticating counts until the timeout.
    let connect_timeout = Duration::from_millis(500);
    let config = SocketConfig { max_per_address: 2, connect_timeout, ..SocketConfig::default() };
    let server = TestServer::start_with(config);
    let target = "/socket.io/?EIO=4&transport=polling";
    raw::http(&server, "GET", target, "").await;
    raw::http(&server, "GET", target, "").await;
    let third = raw::http(&server, "GET", target, "").await;
    assert!(third.starts_with("HTTP/1.1 429"), "{third}");
    assert!(third.to_lowercase().contains("retry-after"), "{third}");
    assert!(third.contains("\"code\":\"too_many_connections\""), "{third}");
    server.until("gone", |now| now.transports == 0).await;
    let again = raw::http(&server, "GET", target, "").await;
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_never_authenticates_is_closed() {
    let connect_timeout = Duration::from_millis(300);
    let server = TestServer::start_with(SocketConfig { connect_timeout, ..SocketConfig::default() });
    raw::http(&server, "GET", "/socket.io/?EIO=4&transport=polling", "").await;
    let mut socket = WebSocket::open(&server, "").await;
    assert_eq!(server.sockets.metrics().transports, 1);
    socket.read_to_end().await;
    server.until("gone", |now| now.transports == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_message_ends_the_transport() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    let options = json!({"auth": {"token": token(1, 1)}, "transports": ["websocket"], "reconnection": false});
    clients.open("ws", &server.url(), &options);
    clients.next("ws", "connected").await;
    clients.emit("ws", "nonsense", &json!("x".repeat(40_000)));
    clients.next("ws", "disconnect").await;

    let target = "/socket.io/?EIO=4&transport=polling";
    let opened = raw::http(&server, "GET", target, "").await;
    let target = format!("{target}&sid={}", raw::sid(&opened));
    let refused = raw::http(&server, "POST", &target, &"x".repeat(40_000)).await;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    assert!(refused.contains("application/problem+json"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_sends_too_much_is_closed() {
    let budget = ByteBudget { burst: 4000, per_second: 0 };
    let server = TestServer::start_with(SocketConfig { budget, ..SocketConfig::default() });
    let mut socket = WebSocket::open(&server, "").await;
    socket.send(&format!("40{{\"token\":\"{}\"}}", token(1, 1))).await;
    socket.read_until("connected").await;
    socket.send(&format!("42[\"x\",\"{}\"]", "y".repeat(4000))).await;
    socket.read_to_end().await;

    let target = "/socket.io/?EIO=4&transport=polling";
    let opened = raw::http(&server, "GET", target, "").await;
    let target = format!("{target}&sid={}", raw::sid(&opened));
    let packet = format!("40{{\"x\":\"{}\"}}", "y".repeat(4000));
    let refused = raw::http(&server, "POST", &target, &packet).await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    server.until("gone", |now| now.transports == 0 && now.open == 0).await;
}

/// Fills everything between the server and a client that does not read.
async fn stall(server: &TestServer) -> WebSocket {
    let mut socket = WebSocket::open(server, "").await;
    socket.send(&format!("40{{\"token\":\"{}\"}}", token(1, 1))).await;
    socket.read_until("connected").await;
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_stops_reading_is_closed_and_others_receive_everything() {
    let send_timeout = Duration::from_secs(1);
    let server = TestServer::start_with(SocketConfig { send_timeout, ..SocketConfig::default() });
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    let _stalled = stall(&server).await;
    clients.open(
        "good",
        &server.url(),
        &json!({"auth": {"token": token(1, 2)}, "transports": ["websocket"]}),
    );
    clients.next("good", "connected").await;
    let mut sent = 0;
    while server.sockets.metrics().too_slow == 0 {
        assert!(sent < 200_000, "it is never too slow");
        for _ in 0..200 {
            sent += 1;
            server.notifier.notify(LiveEvent::New(server.memory.store(1, Activity::Like(PostId(sent)))));
        }
        server.until("sent", |now| now.sent >= u64::try_from(sent).unwrap()).await;
    }
    assert_eq!(server.sockets.metrics().too_slow, 1);
    server.until("gone", |now| now.open == 1 && now.transports == 1).await;
    for expected in 1..=sent {
        assert_eq!(clients.next("good", "new_notification").await["id"], expected);
    }
}

/// Many more notifications at once than the queue holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_beyond_the_queue_reaches_clients_that_read() {
    let server = TestServer::start_with(SocketConfig { max_queued_packets: 8, ..SocketConfig::default() });
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for transport in ["websocket", "polling"] {
        let options = json!({"auth": {"token": token(1, 1)}, "transports": [transport]});
        clients.open(transport, &server.url(), &options);
        clients.next(transport, "connected").await;
    }
    for post in 0..999 {
        server.memory.store(1, Activity::Like(PostId(post)));
    }
    server.like(1, 999);
    for transport in ["websocket", "polling"] {
        for expected in 1..=1000 {
            assert_eq!(clients.next(transport, "new_notification").await["id"], expected, "{transport}");
        }
    }
    assert_eq!(server.sockets.metrics().too_slow, 0);
    let id = server.like(1, 1000);
    for transport in ["websocket", "polling"] {
        assert_eq!(clients.next(transport, "new_notification").await["id"], id);
        assert!(!clients.has(transport, "disconnect"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_session_closes_a_client_that_stopped_reading() {
    // The queue never overflows, so the end of the session closes the transport.
    let server =
        TestServer::start_with(SocketConfig { max_queued_packets: 100_000, ..SocketConfig::default() });
    let stalled = stall(&server).await;
    for post in 0..20_000 {
        server.memory.store(1, Activity::Like(PostId(post)));
    }
    server.like(1, -1);
    server.until("sent", |now| now.sent > 20_000).await;
    stalled.pause().await;
    assert_eq!(server.sockets.metrics().transports, 1);
    server.notifier.ended(&[SessionId(1)]);
    server.until("gone", |now| now.open == 0 && now.transports == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_upgrade_leaves_nothing_behind() {
    let server = TestServer::start();
    let target = "/socket.io/?EIO=4&transport=polling";
    let opened = raw::http(&server, "GET", target, "").await;
    let sid = raw::sid(&opened);
    let mut socket = WebSocket::open(&server, &format!("&sid={sid}")).await;
    socket.send("2probe").await;
    socket.read_until("3probe").await;
    drop(socket);
    server.until("gone", |now| now.transports == 0).await;
    let poll = raw::http(&server, "GET", &format!("{target}&sid={sid}"), "").await;
    assert!(poll.starts_with("HTTP/1.1 400"), "{poll}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_errors_pass_unchanged() {
    let server = TestServer::start();
    for (target, code) in [
        ("/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", "\"code\":\"1\""),
        ("/socket.io/?EIO=4&transport=carrier-pigeon", "\"code\":\"0\""),
        ("/socket.io?EIO=3&transport=polling", "\"code\":\"5\""),
    ] {
        let response = raw::http(&server, "GET", target, "").await;
        assert!(response.starts_with("HTTP/1.1 400"), "{target}: {response}");
        assert!(response.contains(code), "{target}: {response}");
    }
    assert_eq!(server.sockets.metrics().transports, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_message_while_one_arrives_closes_the_session() {
    let server = TestServer::start();
    let opened = raw::http(&server, "GET", "/socket.io/?EIO=4&transport=polling", "").await;
    let sid = raw::sid(&opened);
    assert!(server.sockets.has_session(sid) && !server.sockets.has_session("AAAAAAAAAAAAAAAA"));
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    let mut first = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n4");
    first.write_all(head.as_bytes()).await.unwrap();
    // A pong, which is accepted until the server has read the head of the first message.
    let refused = timeout(TIMEOUT, async {
        loop {
            let response = raw::http(&server, "POST", &target, "3").await;
            if !response.starts_with("HTTP/1.1 200") {
                break response;
            }
        }
    });
    let refused = refused.await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("overlapping_messages"), "{refused}");
    let mut response = Vec::new();
    timeout(TIMEOUT, first.read_to_end(&mut response)).await.unwrap().unwrap();
    assert!(response.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&response));
    server.until("closed", |now| now.transports == 0 && now.refused.iter().sum::<u64>() == 2).await;
}
