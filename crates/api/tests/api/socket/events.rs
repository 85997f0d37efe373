//! Socket events, received by the official JavaScript client.

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{Server, start_socket_clients};

#[database_test]
async fn every_socket_of_the_recipient_receives_notification_events(db: TestDatabase) {
    let (server, mut clients) = (Server::start(&db).await, start_socket_clients());
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = server.create_post(&ann, "hi", false).await;
    clients.open("phone", &server.url, &json!({"auth": {"token": ann.access}, "transports": ["websocket"]}));
    clients.open("browser", &server.url, &json!({"query": {"token": ann.access}}));
    for client in ["phone", "browser"] {
        let connected = clients.next(client, "connected").await;
        assert_eq!(
            connected,
            json!({"message": "Connected to notification service", "user_id": ann.id, "unread_count": 0})
        );
    }
    assert_eq!(
        server.get("/socket/status", None).await.ok(),
        json!({"status": "active", "connected_users": 1})
    );
    server.post(&format!("/posts/{post}/like"), &bob, json!(null)).await.ok();
    let listed = server.get("/notifications/", &ann).await.ok()["notifications"][0].clone();
    for client in ["phone", "browser"] {
        assert_eq!(clients.next(client, "new_notification").await, listed, "{client}");
    }
    let read = format!("/notifications/{}/read", listed["id"]);
    server.put(&read, &ann, json!(null)).await.ok();
    let read = clients.next("phone", "notification_read").await;
    assert_eq!(read, json!({"ids": [listed["id"]], "unread_count": 0}));
    server.delete(&format!("/posts/{post}/like"), &bob).await.ok();
    let gone = clients.next("browser", "notification_deleted").await;
    assert_eq!(gone, json!({"id": listed["id"], "unread_count": 0}));
}

#[database_test]
async fn missed_notifications_are_replayed_on_connect_and_over_rest(db: TestDatabase) {
    let (server, mut clients) = (Server::start(&db).await, start_socket_clients());
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    for n in 0..3 {
        let post = server.create_post(&ann, &format!("post {n}"), false).await;
        server.post(&format!("/posts/{post}/like"), &bob, json!(null)).await.ok();
    }
    let newest_first =
        server.get("/notifications/", &ann).await.ok()["notifications"].as_array().unwrap().clone();
    let since = newest_first[2]["id"].clone();
    let missed = [newest_first[1]["id"].clone(), newest_first[0]["id"].clone()];
    let rest = server.get(&format!("/notifications/?since={since}"), &ann).await.ok();
    let ids: Vec<_> = rest["notifications"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(
        (ids.as_slice(), &rest["truncated"], &rest["unread_count"]),
        (&missed[..], &json!(false), &json!(3))
    );
    let first = server.get(&format!("/notifications/?since={since}&page_size=1"), &ann).await.ok();
    assert_eq!((&first["truncated"], &first["notifications"][0]["id"]), (&json!(true), &missed[0]));
    for none in ["x", "-1", "9007199254740992", "9223372036854775808"] {
        assert_eq!(server.get(&format!("/notifications/?since={none}"), &ann).await.status, 422, "{none}");
    }
    clients.open("phone", &server.url, &json!({"auth": {"token": ann.access, "since": since}}));
    let received = clients.all_until("phone", "replay_complete").await;
    let replayed: Vec<_> = received.iter().filter(|one| one.event == "new_notification").collect();
    assert!(replayed.iter().all(|one| one.data["replayed"] == true));
    assert_eq!(replayed.iter().map(|one| one.data["id"].clone()).collect::<Vec<_>>(), missed);
    assert_eq!(received.last().unwrap().data, json!({"count": 2, "truncated": false}));
}
