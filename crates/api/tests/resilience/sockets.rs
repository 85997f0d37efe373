//! Sockets of servers that are killed or stopped.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};
use tokio::time::{Instant, sleep};

use super::cluster::{create_posts, notification_ids, received_ids};
use crate::harness::{ApiClient, Process, User, start_socket_clients};

/// Likes a post, and retries until a response arrives.
async fn like_with_retries(rest: &ApiClient, post: i64, user: &User) {
    loop {
        let request = rest.request(Method::POST, &format!("/posts/{post}/like")).bearer_auth(&user.access);
        match request.send().await {
            // 400: an earlier attempt succeeded, but its response was lost.
            Ok(response) if matches!(response.status().as_u16(), 200 | 400) => return,
            Ok(response) => panic!("{}", response.status()),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

#[database_test]
async fn ten_kills_lose_and_duplicate_no_notification(db: TestDatabase) {
    let mut server = Process::start(&[("DATABASE_URL", db.url())]).await;
    let ann = server.create_user("ann").await;
    let mut likers = Vec::new();
    for name in ["bob", "cid", "dan"] {
        likers.push(server.create_user(name).await);
    }
    let posts = create_posts(&server, &ann, 200).await;
    let mut clients = start_socket_clients();
    for (client, transports) in
        [("phone", json!(["websocket"])), ("browser", json!(["polling", "websocket"]))]
    {
        let options = json!({"auth": {"token": ann.access}, "resume": true, "transports": transports});
        clients.open(client, &server.url, &options);
        clients.next(client, "connected").await;
    }
    let liking: Vec<_> = likers
        .into_iter()
        .map(|liker| {
            let (rest, posts) = (ApiClient::new(server.url.clone()), posts.clone());
            tokio::spawn(async move {
                for post in posts {
                    like_with_retries(&rest, post, &liker).await;
                    sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    for life in 0..10 {
        sleep(Duration::from_millis(100 + 37 * life)).await;
        server.kill();
        server.launch().await;
    }
    for liking in liking {
        liking.await.unwrap();
    }
    let stored = notification_ids(&server, &ann).await;
    assert_eq!(stored.len(), 600);
    for client in ["phone", "browser"] {
        assert_eq!(received_ids(&mut clients, client, stored[599]).await, stored, "{client}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_closes_sockets_gradually() {
    let db = TestDatabase::sqlite().await;
    let mut server = Process::start(&[("DATABASE_URL", db.url())]).await;
    let ann = server.create_user("ann").await;
    let mut clients = start_socket_clients();
    for client in 0..10 {
        let options =
            json!({"auth": {"token": ann.access}, "transports": ["websocket"], "reconnection": false});
        clients.open(&client.to_string(), &server.url, &options);
        clients.next(&client.to_string(), "connected").await;
    }
    let start = Instant::now();
    let stopped = tokio::spawn(async move { server.stop().await });
    for client in 0..10 {
        // After a disconnect by the server, clients would not reconnect.
        assert_eq!(clients.next(&client.to_string(), "disconnect").await, "transport close", "{client}");
    }
    // Spread over three seconds; longer on a slow machine.
    assert!(start.elapsed() > Duration::from_secs(2), "all closed after {:?}", start.elapsed());
    assert_eq!(stopped.await.unwrap().0, Some(0));
}
