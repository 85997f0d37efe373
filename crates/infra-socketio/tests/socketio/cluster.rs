//! Several server processes with one database and one Redis.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    notifications::{Activity, LiveEvent, NotificationId, Notifier},
    posts::PostId,
    sessions::{SessionId, SessionObserver as _},
    users::UserId,
};
use futures_util::StreamExt as _;
use infra_socketio::SocketConfig;
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

use test_support::socketio::Clients;

use crate::server::{Memory, TestServer, token};

/// A proxy to Redis that can be cut.
struct RedisProxy {
    url: String,
    is_open: watch::Sender<bool>,
}

impl RedisProxy {
    async fn new() -> Self {
        let url = url::Url::parse(test_support::redis_url()).unwrap();
        let target: SocketAddr =
            url.socket_addrs(|| Some(6379)).unwrap().into_iter().find(SocketAddr::is_ipv4).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut own = url.clone();
        own.set_host(Some("127.0.0.1")).unwrap();
        own.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (is_open, watched) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (mut inside, _) = listener.accept().await.unwrap();
                let mut watched = watched.clone();
                tokio::spawn(async move {
                    if !*watched.borrow_and_update() {
                        return;
                    }
                    let Ok(mut outside) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = watched.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self { url: own.to_string(), is_open }
    }
}

/// Two servers; the second one reaches Redis through the proxy.
async fn two_servers() -> (TestServer, TestServer, RedisProxy) {
    two_servers_on(&new_channel()).await
}

/// Returns a new channel: tests that share one would end each other's sessions.
fn new_channel() -> String {
    static NEXT_CHANNEL: AtomicU64 = AtomicU64::new(0);
    let number = NEXT_CHANNEL.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", token(1, std::process::id().into()))
}

async fn two_servers_on(channel: &str) -> (TestServer, TestServer, RedisProxy) {
    let memory = Arc::new(Memory::default());
    let config = |url: &str| SocketConfig {
        redis_url: Some(url.to_owned()),
        redis_channel: channel.to_owned(),
        ..SocketConfig::default()
    };
    let proxy = RedisProxy::new().await;
    let here = TestServer::start_on(config(test_support::redis_url()), memory.clone());
    let there = TestServer::start_on(config(&proxy.url), memory);
    (here, there, proxy)
}

/// Waits until events of `here` reach a client of the other server.
async fn until_connected(here: &TestServer, clients: &mut Clients, client: &str) {
    let received = Arc::new(AtomicBool::new(false));
    let (notifier, is_received) = (here.notifier.clone(), received.clone());
    let calling = tokio::spawn(async move {
        while !is_received.load(Ordering::Relaxed) {
            let event =
                LiveEvent::Read { recipient: UserId(1), id: Some(NotificationId(0)), unread_count: 0 };
            notifier.notify(event);
            sleep(Duration::from_millis(50)).await;
        }
    });
    clients.next(client, "notification_read").await;
    received.store(true, Ordering::Relaxed);
    calling.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_process_reach_the_clients_of_the_other() {
    let (here, there, _proxy) = two_servers().await;
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("there", &there.url(), &json!({"auth": {"token": token(1, 1)}}));
    clients.open("here", &here.url(), &json!({"auth": {"token": token(1, 2)}}));
    clients.next("here", "connected").await;
    clients.next("there", "connected").await;
    until_connected(&here, &mut clients, "there").await;

    for post in 0..20 {
        let id = if post % 2 == 0 { here.like(1, post) } else { there.like(1, post) };
        for client in ["here", "there"] {
            assert_eq!(clients.next(client, "new_notification").await["id"], id, "{client}");
        }
    }
    here.memory.end(1);
    here.notifier.ended(&[SessionId(1)]);
    clients.next("there", "disconnect").await;
    assert!(!clients.has("here", "disconnect"));
    // Only the receiving process marks the session: in the sending one, its service has done so before.
    assert_eq!(*there.memory.marked_ended.lock().unwrap(), [SessionId(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_redis_delays_only_events_of_other_processes() {
    let (here, there, proxy) = two_servers().await;
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for (client, session) in [("there", 1), ("ended", 2)] {
        clients.open(client, &there.url(), &json!({"auth": {"token": token(1, session)}}));
        clients.next(client, "connected").await;
    }
    until_connected(&here, &mut clients, "there").await;

    proxy.is_open.send(false).unwrap();
    // Events of a process reach its own clients at once.
    let own = there.like(1, 1);
    assert_eq!(clients.next("there", "new_notification").await["id"], own);
    // Events of other processes do not arrive.
    let missed = here.like(1, 2);
    here.memory.end(2);
    here.notifier.ended(&[SessionId(2)]);
    sleep(Duration::from_millis(1500)).await;
    assert!(!clients.has("there", "new_notification"));

    proxy.is_open.send(true).unwrap();
    assert_eq!(clients.next("there", "new_notification").await["id"], missed);
    clients.next("ended", "disconnect").await;
    let next = here.memory.store(1, Activity::Like(PostId(3)));
    let id = next.id.0;
    here.notifier.notify(LiveEvent::New(next));
    assert_eq!(clients.next("there", "new_notification").await["id"], id);
    assert!(!clients.has("there", "disconnect"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_starts_without_redis_and_joins_when_it_is_up() {
    let (here, there, proxy) = two_servers().await;
    proxy.is_open.send(false).unwrap();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("there", &there.url(), &json!({"auth": {"token": token(1, 1)}}));
    clients.next("there", "connected").await;
    let id = there.like(1, 1);
    assert_eq!(clients.next("there", "new_notification").await["id"], id);
    proxy.is_open.send(true).unwrap();
    until_connected(&here, &mut clients, "there").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_devices_are_counted_over_all_processes() {
    let (here, there, proxy) = two_servers().await;
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for device in 0..6 {
        let (name, server) = (format!("device {device}"), if device % 2 == 0 { &here } else { &there });
        clients.open(&name, &server.url(), &json!({"auth": {"token": token(1, 1)}, "reconnection": false}));
        clients.next(&name, "connected").await;
    }
    clients.open("other", &there.url(), &json!({"auth": {"token": token(2, 2)}}));
    clients.next("other", "connected").await;
    let both_count = async |users: usize| {
        let deadline = tokio::time::Instant::now() + crate::server::TIMEOUT;
        while [&here, &there].iter().any(|server| server.sockets.connected_users() != users) {
            assert!(tokio::time::Instant::now() < deadline, "not {users} users");
            sleep(Duration::from_millis(20)).await;
        }
    };
    both_count(2).await;

    // The eleventh device replaces the oldest one, in whichever process.
    for device in 6..12 {
        let (name, server) = (format!("device {device}"), if device < 9 { &here } else { &there });
        clients.open(&name, &server.url(), &json!({"auth": {"token": token(1, 1)}, "reconnection": false}));
        clients.next(&name, "connected").await;
    }
    for oldest in ["device 0", "device 1"] {
        clients.next(oldest, "disconnect").await;
    }
    let id = here.like(1, 1);
    for device in 2..12 {
        let name = format!("device {device}");
        assert_eq!(clients.next(&name, "new_notification").await["id"], id, "{name}");
        assert!(!clients.has(&name, "disconnect"), "{name}");
    }

    // Users who left do not count, and neither do those of unreachable processes.
    clients.disconnect("other");
    both_count(1).await;
    assert_eq!(here.sockets.metrics().is_redis_up, Some(true));
    proxy.is_open.send(false).unwrap();
    clients.open("third", &there.url(), &json!({"auth": {"token": token(3, 3)}}));
    clients.next("third", "connected").await;
    assert_eq!(there.sockets.connected_users(), 2);
    there.until("lost", |now| now.is_redis_up == Some(false) && now.redis_losses == 1).await;
    assert_eq!(here.sockets.connected_users(), 1);
    proxy.is_open.send(true).unwrap();
    both_count(2).await;
}

async fn connect_to_redis() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(test_support::redis_url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_requests_to_catch_up_are_merged() {
    let channel = format!("test-catch-up-{}", std::process::id());
    let redis_url = Some(test_support::redis_url().to_owned());
    let config = SocketConfig { redis_url, redis_channel: channel.clone(), ..SocketConfig::default() };
    let server = TestServer::start_with(config.clone());
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("a", &server.url(), &json!({"auth": {"token": token(1, 1)}}));
    clients.next("a", "connected").await;
    server.until("subscribed", |now| now.is_redis_up == Some(true)).await;

    let message = |number| infra_socketio::testing::catch_up_message(&config, "other", number).unwrap();
    let mut redis = connect_to_redis().await;
    let before = server.memory.reads();
    let deadline = tokio::time::Instant::now() + crate::server::TIMEOUT;
    while server.memory.reads() == before {
        let number = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap();
        redis::cmd("PUBLISH").arg(&channel).arg(message(number)).exec_async(&mut redis).await.unwrap();
        assert!(tokio::time::Instant::now() < deadline, "it does not catch up");
        sleep(Duration::from_millis(10)).await;
    }
    let before = server.memory.reads();
    let mut requests = redis::pipe();
    for number in 0..1000 {
        requests.publish(&channel, message(u64::MAX - 1000 + number)).ignore();
    }
    requests.exec_async(&mut redis).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let reads = server.memory.reads() - before;
    assert!((1..500).contains(&reads), "{reads} reads");
    assert_eq!(server.sockets.metrics().rejected_messages, 0);
    assert!(!clients.has("a", "disconnect"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_altered_and_repeated_messages_are_rejected() {
    let channel = new_channel();
    let (here, there, _proxy) = two_servers_on(&channel).await;
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("there", &there.url(), &json!({"auth": {"token": token(1, 1)}}));
    clients.next("there", "connected").await;
    until_connected(&here, &mut clients, "there").await;
    let mut redis = connect_to_redis().await;
    // Anyone who reaches Redis sees the names of the channels, and what is published on them.
    let client = redis::Client::open(test_support::redis_url()).unwrap();
    let mut observer = client.get_async_pubsub().await.unwrap();
    observer.subscribe(&channel).await.unwrap();
    here.notifier.notify(LiveEvent::Read { recipient: UserId(1), id: None, unread_count: 7 });
    let mut messages = observer.on_message();
    let authentic = loop {
        let payload: Vec<u8> = messages.next().await.unwrap().get_payload().unwrap();
        // Others are heartbeats.
        if String::from_utf8_lossy(&payload).contains(r#""unread_count":7"#) {
            break payload;
        }
    };
    while clients.next("there", "notification_read").await["unread_count"] != 7 {}

    let altered = String::from_utf8_lossy(&authentic[32..]).replace(":7", ":8");
    let times = [9_999_999_999_999_i64; 10];
    let messages: [Vec<u8>; 6] = [
        authentic.clone(),
        [&authentic[..32], altered.as_bytes()].concat(),
        authentic[32..].to_vec(),
        json!({"sender": "evil", "message": {"PresenceSnapshot": [[1, times]]}}).to_string().into_bytes(),
        [&[0; 32][..], br#"{"sender":"evil","number":1,"message":{"SessionsEnded":[1]}}"#].concat(),
        Vec::new(),
    ];
    let count = messages.len() as u64;
    for message in messages {
        redis::cmd("PUBLISH").arg(&channel).arg(message).exec_async(&mut redis).await.unwrap();
    }
    there.until("rejected", |now| now.rejected_messages == count).await;
    let id = here.like(1, 1);
    assert_eq!(clients.next("there", "new_notification").await["id"], id);
    for event in ["disconnect", "notification_read", "notification_deleted"] {
        assert!(!clients.has("there", event), "{event}");
    }
}
