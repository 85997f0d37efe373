//! `/users/refresh`.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

const BAD_TOKEN: (u16, &str) = (401, "Invalid token");

#[database_test]
async fn refresh_token_works_once_with_a_grace_period_for_parallel_tabs(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let refresh = async |token: &str| server.get("/users/refresh", &ann.with_token(token)).await;
    let tabs = join_all((0..10).map(|_| refresh(&ann.refresh))).await;
    let second: Vec<_> =
        tabs.into_iter().map(|tab| tab.ok()["refresh_token"].as_str().unwrap().to_owned()).collect();
    assert!(second.iter().all(|token| *token == second[0]) && second[0] != ann.refresh);
    let third = server.post("/users/refresh", None, json!({"refresh_token": second[0]})).await.ok();
    assert_eq!(
        server.get("/users/me", &ann.with_token(third["access_token"].as_str().unwrap())).await.status,
        200
    );
    // The successor has been used: the first token is a stolen one now, and ends the session.
    assert_eq!(refresh(&ann.refresh).await.problem(), BAD_TOKEN);
    assert_eq!(refresh(third["refresh_token"].as_str().unwrap()).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
}

#[database_test]
async fn second_refresh_without_grace_period_ends_the_session(db: TestDatabase) {
    let server = Server::start_with(&db, &[("REFRESH_GRACE_SECONDS", "0")]).await;
    let ann = server.create_user("ann").await;
    let bearer = ann.with_token(&ann.refresh);
    // A HEAD uses nothing up.
    let head = server.request(Method::HEAD, "/users/refresh").bearer_auth(&ann.refresh);
    assert_eq!(server.send(head).await.status, 405);
    assert_eq!(server.post("/users/refresh", &bearer, json!(null)).await.status, 200);
    assert_eq!(server.get("/users/refresh", &bearer).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", None).await.problem(), (401, "Not authenticated"));
    assert_eq!(server.post("/users/refresh", None, json!({})).await.problem(), (401, "Not authenticated"));
}
