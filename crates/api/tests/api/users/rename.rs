//! Users who are renamed, which only an operator can do.

use std::time::Duration;

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

#[database_test]
async fn renamed_user_gets_the_new_name_in_lists(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    server.post(&format!("/users/{}/follow", ann.id), &bob, json!(null)).await.ok();
    let followers = format!("/users/{}/followers", ann.id);
    assert_eq!(server.get(&followers, None).await.ok()["followers"][0]["username"], "bob");
    db.execute(&format!("UPDATE users SET username = 'Bobby' WHERE id = {}", bob.id)).await;
    let renamed = async {
        while server.get(&followers, None).await.ok()["followers"][0]["username"] != "Bobby" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // After three seconds, on a machine that is not busy.
    tokio::time::timeout(Duration::from_secs(30), renamed).await.unwrap();
}
