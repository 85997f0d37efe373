//! Sockets of sessions that end.

use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::harness::{PASSWORD, Server, User, start_socket_clients};

fn with_token(user: &User) -> Value {
    json!({"auth": {"token": user.access}})
}

#[database_test]
async fn ended_session_closes_its_sockets(db: TestDatabase) {
    let (server, mut clients) = (Server::start(&db).await, start_socket_clients());
    let ann = server.create_user("ann").await;
    let pair = server.login("ann", PASSWORD).await.ok();
    let other = server.user_with_tokens("ann", &ann.email, &pair).await;
    clients.open("mine", &server.url, &with_token(&ann));
    clients.open("other", &server.url, &with_token(&other));
    clients.next("mine", "connected").await;
    clients.next("other", "connected").await;
    let change = json!({"current_password": PASSWORD, "new_password": "battery staple"});
    server.post("/users/change-password", &ann, change).await.ok();
    clients.next("other", "disconnect").await;
    // The client reconnects by itself and is rejected with a reason.
    let refused = clients.next("other", "connect_error").await;
    assert_eq!(refused["message"], "Connection rejected by server");
    assert_eq!(
        (&refused["data"]["code"], &refused["data"]["status"]),
        (&json!("invalid_token"), &json!(401))
    );
    assert!(!clients.has("mine", "disconnect"));
    server.post("/users/logout", &ann, json!(null)).await.ok();
    clients.next("mine", "disconnect").await;
}
