//! `POST /users/login` and `/users/logout`.

use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{PASSWORD, Server};

const BAD_TOKEN: (u16, &str) = (401, "Invalid token");

#[database_test]
async fn login_accepts_form_multipart_and_json(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let form = [
        ("grant_type", "password"),
        ("username", "ann"),
        ("password", PASSWORD),
        ("scope", ""),
        ("client_id", "x"),
    ];
    assert_eq!(server.send(server.request(Method::POST, "/users/login/").form(&form)).await.status, 200);
    let multipart = reqwest::multipart::Form::new().text("username", "ann").text("password", PASSWORD);
    assert_eq!(
        server.send(server.request(Method::POST, "/users/login").multipart(multipart)).await.status,
        200
    );
    let json = json!({"username": ann.email, "password": PASSWORD});
    assert_eq!(server.post("/users/login", None, json).await.status, 200);
    let stale = ann.with_token("null");
    assert_eq!(
        server.post("/users/login", &stale, json!({"username": "ann", "password": PASSWORD})).await.status,
        200
    );
}

#[database_test]
async fn logout_ends_only_the_current_session(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let other = server.user_with_tokens("ann", &ann.email, &server.login("ann", PASSWORD).await.ok()).await;
    assert_eq!(server.post("/users/logout", &ann, json!(null)).await.status, 200);
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", &ann.with_token(&ann.refresh)).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/me", &other).await.status, 200);
}
