//! Several server processes with one database and one Redis.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{
    notifications::{Activity, LiveEvent, NotificationId, Notifier},
    posts::PostId,
    sessions::{SessionId, SessionObserver as _},
    users::UserId,
};
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

/// A way to Redis that can be cut.
struct Way {
    url: String,
    is_open: watch::Sender<bool>,
}

impl Way {
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

/// Two servers, each with its own way to Redis.
async fn two() -> (TestServer, TestServer, Way) {
    let memory = Arc::new(Memory::default());
    let channel = format!("test-{}", token(1, std::process::id().into()));
    let config = |url: &str| SocketConfig {
        redis_url: Some(url.to_owned()),
        redis_channel: channel.clone(),
        ..SocketConfig::default()
    };
    let way = Way::new().await;
    let here = TestServer::start_on(config(test_support::redis_url()), memory.clone());
    let there = TestServer::start_on(config(&way.url), memory);
    (here, there, way)
}

/// Waits until what is caused here is heard of there.
async fn until_they_hear(here: &TestServer, clients: &mut Clients, client: &str) {
    let heard = Arc::new(AtomicBool::new(false));
    let (notifier, is_heard) = (here.notifier.clone(), heard.clone());
    let calling = tokio::spawn(async move {
        while !is_heard.load(Ordering::Relaxed) {
            let event =
                LiveEvent::Read { recipient: UserId(1), id: Some(NotificationId(0)), unread_count: 0 };
            notifier.notify(event);
            sleep(Duration::from_millis(50)).await;
        }
    });
    clients.next(client, "notification_read").await;
    heard.store(true, Ordering::Relaxed);
    calling.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_in_one_process_is_heard_in_the_other() {
    let (here, there, _way) = two().await;
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("there", &there.url(), &json!({"auth": {"token": token(1, 1)}}));
    clients.open("here", &here.url(), &json!({"auth": {"token": token(1, 2)}}));
    clients.next("here", "connected").await;
    clients.next("there", "connected").await;
    until_they_hear(&here, &mut clients, "there").await;

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
    // The process that heard of it was told to forget the session, the one that said it was not: it knows.
    assert_eq!(*there.memory.marked_ended.lock().unwrap(), [SessionId(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_redis_harms_nobody_and_what_was_missed_is_made_up_for() {
    let (here, there, way) = two().await;
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for (client, session) in [("there", 1), ("ended", 2)] {
        clients.open(client, &there.url(), &json!({"auth": {"token": token(1, session)}}));
        clients.next(client, "connected").await;
    }
    until_they_hear(&here, &mut clients, "there").await;

    way.is_open.send(false).unwrap();
    // What a process causes itself its own clients hear of, at once.
    let own = there.like(1, 1);
    assert_eq!(clients.next("there", "new_notification").await["id"], own);
    // What others cause meanwhile does not get through.
    let missed = here.like(1, 2);
    here.memory.end(2);
    here.notifier.ended(&[SessionId(2)]);
    sleep(Duration::from_millis(1500)).await;
    assert!(!clients.has("there", "new_notification"));

    way.is_open.send(true).unwrap();
    assert_eq!(clients.next("there", "new_notification").await["id"], missed);
    clients.next("ended", "disconnect").await;
    let next = here.memory.store(1, Activity::Like(PostId(3)));
    let id = next.id.0;
    here.notifier.notify(LiveEvent::New(next));
    assert_eq!(clients.next("there", "new_notification").await["id"], id);
    assert!(!clients.has("there", "disconnect"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_starts_without_redis_and_hears_the_others_once_it_is_there() {
    let (here, there, way) = two().await;
    way.is_open.send(false).unwrap();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("there", &there.url(), &json!({"auth": {"token": token(1, 1)}}));
    clients.next("there", "connected").await;
    let id = there.like(1, 1);
    assert_eq!(clients.next("there", "new_notification").await["id"], id);
    way.is_open.send(true).unwrap();
    until_they_hear(&here, &mut clients, "there").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_their_devices_are_counted_over_all_processes() {
    let (here, there, way) = two().await;
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

    // The eleventh device is one too many: the oldest of all leaves, wherever it is.
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

    // Who leaves is not counted any more, and neither is who is out of reach.
    clients.leave("other");
    both_count(1).await;
    assert_eq!(here.sockets.metrics().is_redis_up, Some(true));
    way.is_open.send(false).unwrap();
    clients.open("third", &there.url(), &json!({"auth": {"token": token(3, 3)}}));
    clients.next("third", "connected").await;
    assert_eq!(there.sockets.connected_users(), 2);
    there.until("lost", |now| now.is_redis_up == Some(false) && now.redis_losses == 1).await;
    assert_eq!(here.sockets.connected_users(), 1);
    way.is_open.send(true).unwrap();
    both_count(2).await;
}
