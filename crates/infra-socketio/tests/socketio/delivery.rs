//! Every notification reaches every device: none is lost, repeated or reordered.

use std::{sync::Arc, time::Duration};

use domain::{
    notifications::{Activity, LiveEvent, NotificationId, NotificationRemoved, Notifier},
    posts::PostId,
    users::UserId,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use test_support::socketio::{ClientEvent, Clients};

use crate::server::{TestServer, token};

fn ids(events: &[ClientEvent]) -> Vec<i64> {
    let notifications = events.iter().filter(|one| one.event == "new_notification");
    notifications.map(|one| one.data["id"].as_i64().unwrap()).collect()
}

fn options(user: i64, since: Option<i64>) -> Value {
    json!({"auth": {"token": token(user, user), "since": since}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_device_receives_all_events_whichever_leaves() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for name in ["tab", "phone", "other"] {
        let user = if name == "other" { 2 } else { 1 };
        clients.open(name, &server.url(), &options(user, None));
        clients.next(name, "connected").await;
    }
    let id = server.like(1, 1);
    assert_eq!(clients.next("tab", "new_notification").await["id"], id);
    assert_eq!(clients.next("phone", "new_notification").await["id"], id);

    clients.disconnect("tab");
    server.until("two left", |now| now.open == 2).await;
    let read = LiveEvent::Read { recipient: UserId(1), id: Some(NotificationId(id)), unread_count: 3 };
    server.notifier.notify(read);
    assert_eq!(clients.next("phone", "notification_read").await, json!({"ids": [id], "unread_count": 3}));
    let all = LiveEvent::Read { recipient: UserId(1), id: None, unread_count: 0 };
    server.notifier.notify(all);
    assert_eq!(clients.next("phone", "notification_read").await, json!({"all": true, "unread_count": 0}));
    let gone = NotificationRemoved { recipient: UserId(1), id: NotificationId(id), unread_count: 2 };
    server.notifier.notify(LiveEvent::Deleted(gone));
    assert_eq!(clients.next("phone", "notification_deleted").await, json!({"id": id, "unread_count": 2}));

    let own = server.like(2, 1);
    assert_eq!(clients.next("other", "new_notification").await["id"], own);
    assert!(!clients.has("other", "notification_read"));
    assert!(!clients.has("phone", "new_notification"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_out_of_order_are_delivered_in_order() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("a", &server.url(), &options(1, None));
    clients.next("a", "connected").await;
    let rows: Vec<_> = (0..50).map(|post| server.memory.store(1, Activity::Like(PostId(post)))).collect();
    let expected: Vec<_> = rows.iter().map(|row| row.id.0).collect();
    for row in rows.into_iter().rev() {
        server.notifier.notify(LiveEvent::New(row));
    }
    let gone = NotificationRemoved { recipient: UserId(1), id: NotificationId(0), unread_count: 0 };
    server.notifier.notify(LiveEvent::Deleted(gone));
    assert_eq!(ids(&clients.all_until("a", "notification_deleted").await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_notifications_come_first_and_are_marked() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    let all: Vec<_> = (0..5).map(|post| server.memory.store(1, Activity::Like(PostId(post))).id.0).collect();
    server.memory.store(2, Activity::Follow);
    for (name, location) in [("auth", "auth"), ("query", "query")] {
        let mut options = json!({"auth": {"token": token(1, 1)}});
        options[location]["since"] = json!(all[1]);
        clients.open(name, &server.url(), &options);
        let received = clients.all_until(name, "replay_complete").await;
        let events: Vec<_> =
            received.iter().map(|one| one.event.as_str()).filter(|one| *one != "upgrade").collect();
        let expected = [
            "connect",
            "connected",
            "new_notification",
            "new_notification",
            "new_notification",
            "replay_complete",
        ];
        assert_eq!(events, expected);
        assert_eq!(ids(&received), all[2..]);
        let replayed = received.iter().filter(|one| one.event == "new_notification");
        assert!(replayed.clone().all(|one| one.data["replayed"] == true));
        assert_eq!(received.last().unwrap().data, json!({"count": 3, "truncated": false}));
    }
    let live = server.like(1, 100);
    let event = clients.next("auth", "new_notification").await;
    assert_eq!((event["id"].as_i64(), event.get("replayed")), (Some(live), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_ends_after_five_hundred() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    for (user, transport) in [(1, "polling"), (2, "websocket")] {
        let all: Vec<_> =
            (0..502).map(|post| server.memory.store(user, Activity::Like(PostId(post))).id.0).collect();
        let mut options = options(user, Some(all[0]));
        options["transports"] = json!([transport]);
        clients.open(transport, &server.url(), &options);
        let received = clients.all_until(transport, "replay_complete").await;
        assert_eq!(ids(&received), all[1..501]);
        assert_eq!(received.last().unwrap().data, json!({"count": 500, "truncated": true}));
        let live = server.like(user, 1000);
        assert_eq!(clients.next(transport, "new_notification").await["id"], live);
    }
}

/// Clients reconnect with `since` while many tasks write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_while_clients_reconnect() {
    let server = Arc::new(TestServer::start());
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let server = server.clone();
            tokio::spawn(async move {
                for action in 0..60 {
                    let row = server.memory.store(1, Activity::Like(PostId(writer * 1000 + action)));
                    // The signal is late, and not in the order of the ids.
                    sleep(Duration::from_millis(u64::try_from((writer * 7 + action * 3) % 11).unwrap()))
                        .await;
                    server.notifier.notify(LiveEvent::New(row));
                    sleep(Duration::from_millis(4)).await;
                }
            })
        })
        .collect();

    let mut received = Vec::new();
    for round in 0..8 {
        let name = format!("round {round}");
        let mut options = options(1, Some(received.last().copied().unwrap_or(0)));
        options["transports"] =
            if round % 2 == 0 { json!(["websocket"]) } else { json!(["polling", "websocket"]) };
        clients.open(&name, &server.url(), &options);
        clients.next(&name, "connected").await;
        sleep(Duration::from_millis(40)).await;
        clients.disconnect(&name);
        received.extend(ids(&clients.all_until(&name, "disconnect").await));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    clients.open("last", &server.url(), &options(1, Some(received.last().copied().unwrap_or(0))));
    received.extend(ids(&clients.all_until("last", "replay_complete").await));
    assert_eq!(received, (1..=480).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_action_is_not_sent_with_the_next_one() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    clients.open("a", &server.url(), &options(1, None));
    clients.next("a", "connected").await;
    let first = server.like(1, 1);
    // Undone and repeated: stored, but deferred.
    server.memory.store(1, Activity::Like(PostId(1)));
    let other = server.like(1, 2);
    assert_eq!(clients.next("a", "new_notification").await["id"], first);
    assert_eq!(clients.next("a", "new_notification").await["id"], other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_match_the_asyncapi_document() {
    let server = TestServer::start();
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    server.memory.store(1, Activity::Follow);
    let mut options = options(1, Some(0));
    options["auth"]["token"] = json!(crate::server::token_for(1, 1, 50));
    clients.open("a", &server.url(), &options);
    clients.next("a", "session_expiring").await;
    server.like(1, 1);
    let read = LiveEvent::Read { recipient: UserId(1), id: None, unread_count: 0 };
    server.notifier.notify(read);
    let gone = NotificationRemoved { recipient: UserId(1), id: NotificationId(1), unread_count: 2 };
    server.notifier.notify(LiveEvent::Deleted(gone));
    let mut received = clients.all_until("a", "notification_deleted").await;
    let ack = clients.emit_with_ack("a", "authenticate", &json!({"token": token(1, 1)})).await;
    received.push(ClientEvent { client: "a".into(), event: "authenticate_ack".into(), data: ack });

    let document = infra_socketio::asyncapi("1.0.0");
    let mut checked = 0;
    for one in received.iter().filter(|one| !["connect", "upgrade"].contains(&one.event.as_str())) {
        let payload = &document["components"]["messages"][&one.event]["payload"];
        assert!(payload.is_object(), "the document does not know {}", one.event);
        let schema = json!({"$ref": payload["$ref"], "components": document["components"]});
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(&one.data).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", one.event);
        checked += 1;
    }
    assert_eq!(checked, 7);
}
