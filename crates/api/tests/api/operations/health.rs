//! `/livez` and `/readyz`.

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

#[database_test]
async fn livez_and_readyz_return_ok(db: TestDatabase) {
    let server = Server::start(&db).await;
    assert_eq!(server.get("/livez", None).await.ok(), json!({"status": "ok"}));
    assert_eq!(server.get("/readyz", None).await.ok(), json!({"status": "ok"}));
}
