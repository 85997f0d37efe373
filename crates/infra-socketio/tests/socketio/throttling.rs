//! Throttling of live events: an action that is undone and repeated.

use std::{sync::Arc, time::Duration};

use infra_socketio::SocketConfig;
use serde_json::{Value, json};
use test_support::socketio::{ClientEvent, Clients};
use tokio::time::{Instant, sleep};

use crate::server::{Memory, TestServer, token};

/// Instead of a minute.
const INTERVAL: Duration = Duration::from_secs(2);

fn config() -> SocketConfig {
    SocketConfig { live_event_interval: INTERVAL, ..SocketConfig::default() }
}

fn options(since: Option<i64>) -> Value {
    json!({"auth": {"token": token(1, 1), "since": since}, "transports": ["websocket"]})
}

async fn connect(clients: &mut Clients, name: &str, server: &TestServer, since: Option<i64>) {
    clients.open(name, &server.url(), &options(since));
    clients.next(name, if since.is_some() { "replay_complete" } else { "connected" }).await;
}

fn notifications(events: &[ClientEvent]) -> Vec<i64> {
    let events = events.iter().filter(|event| event.event == "new_notification");
    events.map(|event| event.data["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_like_is_sent_once_at_once_and_once_after_the_interval() {
    let server = TestServer::start_with(config());
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for name in ["phone", "browser"] {
        connect(&mut clients, name, &server, None).await;
    }
    let mut id = server.like(1, 1);
    for name in ["phone", "browser"] {
        assert_eq!(clients.next(name, "new_notification").await["id"], id);
    }
    let sent_at = Instant::now();
    for _ in 0..20 {
        server.unlike(id);
        id = server.like(1, 1);
    }
    // Another notification with a larger id is not held up.
    let other = server.like(1, 2);
    for name in ["phone", "browser"] {
        assert_eq!(clients.next(name, "new_notification").await["id"], other);
        assert_eq!(clients.next(name, "new_notification").await["id"], id);
    }
    assert!(sent_at.elapsed() > INTERVAL * 9 / 10, "{:?}", sent_at.elapsed());
    sleep(INTERVAL * 3 / 2).await;
    for name in ["phone", "browser"] {
        assert!(!clients.has(name, "new_notification"), "{name}");
    }
    // The interval has passed since the deferred event too.
    server.unlike(id);
    let id = server.like(1, 1);
    assert_eq!(clients.next("phone", "new_notification").await["id"], id);
    assert_eq!(server.sockets.metrics().deferred, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_like_that_is_undone_again_is_not_sent() {
    let server = TestServer::start_with(config());
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    connect(&mut clients, "phone", &server, None).await;
    let first = server.like(1, 1);
    clients.next("phone", "new_notification").await;
    server.unlike(first);
    let second = server.like(1, 1);
    server.until("deferred", |now| now.deferred == 1).await;
    server.unlike(second);
    sleep(INTERVAL * 3 / 2).await;
    assert!(!clients.has("phone", "new_notification"));
    // Nothing was sent since the first, so the next one is sent at once.
    let third = server.like(1, 1);
    let liked_at = Instant::now();
    assert_eq!(clients.next("phone", "new_notification").await["id"], third);
    assert!(liked_at.elapsed() < INTERVAL / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnected_clients_receive_a_deferred_notification_once() {
    let server = TestServer::start_with(config());
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    connect(&mut clients, "phone", &server, None).await;
    let first = server.like(1, 1);
    clients.next("phone", "new_notification").await;
    server.unlike(first);
    let deferred = server.like(1, 1);
    let later = server.like(1, 2);
    assert_eq!(clients.next("phone", "new_notification").await["id"], later);
    clients.disconnect("phone");
    server.until("gone", |now| now.users == 0).await;

    // Its replay does not contain the deferred one, whose id is smaller.
    connect(&mut clients, "new id", &server, Some(later)).await;
    // The replays of these contain it.
    connect(&mut clients, "old id", &server, Some(first)).await;
    assert_eq!(clients.next("new id", "new_notification").await["id"], deferred);
    sleep(INTERVAL).await;
    clients.disconnect("old id");
    let events = clients.all_until("old id", "disconnect").await;
    // Only by the replay, and not again when it was due.
    assert_eq!(notifications(&events), [deferred, later]);
    assert!(!clients.has("new id", "new_notification"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deferred_notification_waits_for_a_client_that_reconnects_late() {
    let server = TestServer::start_with(config());
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    connect(&mut clients, "phone", &server, None).await;
    let first = server.like(1, 1);
    clients.next("phone", "new_notification").await;
    sleep(INTERVAL / 2).await;
    server.unlike(first);
    let deferred = server.like(1, 1);
    let later = server.like(1, 2);
    clients.next("phone", "new_notification").await;
    clients.disconnect("phone");
    server.until("gone", |now| now.users == 0).await;
    // The notification is due meanwhile, without connections.
    sleep(INTERVAL * 3 / 4).await;
    connect(&mut clients, "phone again", &server, Some(later)).await;
    assert_eq!(clients.next("phone again", "new_notification").await["id"], deferred);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_defer_the_same_notification() {
    let memory = Arc::new(Memory::default());
    let redis = || SocketConfig {
        redis_url: Some(test_support::redis_url().to_owned()),
        redis_channel: format!("test-throttling-{}", std::process::id()),
        ..config()
    };
    let servers = [TestServer::start_on(redis(), memory.clone()), TestServer::start_on(redis(), memory)];
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for (name, server) in ["here", "there"].iter().zip(&servers) {
        connect(&mut clients, name, server, None).await;
    }
    let [here, there] = &servers;
    here.until("redis", |now| now.is_redis_up == Some(true)).await;
    there.until("redis", |now| now.is_redis_up == Some(true)).await;
    sleep(Duration::from_millis(500)).await;

    let first = here.like(1, 1);
    for name in ["here", "there"] {
        assert_eq!(clients.next(name, "new_notification").await["id"], first, "{name}");
    }
    there.unlike(first);
    let second = there.like(1, 1);
    let began = Instant::now();
    for name in ["here", "there"] {
        assert_eq!(clients.next(name, "new_notification").await["id"], second, "{name}");
    }
    assert!(began.elapsed() > INTERVAL / 2);
    sleep(INTERVAL).await;
    for name in ["here", "there"] {
        assert!(!clients.has(name, "new_notification"), "{name}");
    }
}
