//! Who may call what.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::{
    contract,
    helpers::{Answer, PASSWORD, Server, User},
    http::operations,
};

/// Whether an operation is for verified users alone.
fn is_closed(method: &Method, path: &str) -> bool {
    let (_, operation) = contract::operation(method.as_str(), path).unwrap();
    let security = operation["security"].as_array().cloned().unwrap_or_default();
    let asks = security.iter().any(|one| one.get("access").is_some());
    asks && !security.contains(&json!({}))
}

fn closed() -> Vec<(Method, String)> {
    operations().into_iter().filter(|(method, path)| is_closed(method, path)).collect()
}

async fn authorized(server: &Server, (method, path): &(Method, String), value: Option<&[u8]>) -> Answer {
    let request = server.request(method.clone(), path);
    server
        .send(match value {
            Some(value) => request.header("authorization", value),
            None => request,
        })
        .await
}

#[test]
fn few_routes_are_open_and_these_are_all() {
    let open = operations().into_iter().filter(|(method, path)| !is_closed(method, path));
    let open: BTreeSet<String> = open.map(|(method, path)| format!("{method} {path}")).collect();
    let expected = [
        "GET /dev/inbox",
        "GET /dev/inbox/latest",
        "GET /livez",
        "GET /media/AAAAAAAAAAAAAAAAAAAAAA.png",
        "GET /posts/1/comment",
        "GET /problems",
        "GET /problems/not_found",
        "GET /readyz",
        "GET /socket/status",
        "GET /users/1/followers",
        "GET /users/1/following",
        "GET /users/refresh",
        "POST /users/forgot-password",
        "POST /users/login",
        "POST /users/refresh",
        "POST /users/register",
        "POST /users/reset-password",
        "POST /users/verify-otp",
    ];
    assert_eq!(open, expected.map(str::to_owned).into());
}

#[database_test]
async fn every_closed_route_asks_who_is_calling(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let refresh = format!("Bearer {}", ann.refresh);
    for operation in &closed() {
        let none: [Option<&[u8]>; 5] =
            [None, Some(b""), Some(b"Bearer"), Some(b"Basic YTpi"), Some(b"Bearer \xff")];
        for value in none {
            let answer = authorized(&server, operation, value).await;
            assert_eq!(answer.problem(), (401, "Not authenticated"), "{operation:?} {value:?}");
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
        }
        for value in ["Bearer null", "Bearer a.b.c", "bearer undefined", &refresh] {
            let answer = authorized(&server, operation, Some(value.as_bytes())).await;
            assert_eq!(answer.problem(), (401, "Invalid token"), "{operation:?} {value}");
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
        }
    }
    for scheme in ["bearer", "BEARER", "beArer"] {
        let value = format!("{scheme} {}", ann.access);
        let me = (Method::GET, "/users/me".to_owned());
        assert_eq!(authorized(&server, &me, Some(value.as_bytes())).await.status, 200, "{scheme}");
    }
}

#[database_test]
async fn who_is_deactivated_or_not_verified_comes_in_nowhere(db: TestDatabase) {
    let server = Server::start(&db).await;
    for (column, told) in [("is_active", "Inactive user"), ("is_verified", "Please verify your email first")]
    {
        let somebody = server.user(column).await;
        // This session has not been seen yet, so that what is believed of the first for seconds is of no account.
        let pair = server.login(&somebody.name, PASSWORD).await.ok();
        let token = format!("Bearer {}", pair["access_token"].as_str().unwrap());
        db.execute(&format!("UPDATE users SET {column} = false WHERE id = {}", somebody.id)).await;
        for operation in &closed() {
            let answer = authorized(&server, operation, Some(token.as_bytes())).await;
            assert_eq!(answer.problem(), (403, told), "{operation:?}");
        }
        assert_eq!(server.login(&somebody.name, PASSWORD).await.problem(), (403, told));
        assert_eq!(
            server.login(&somebody.name, "wrong password").await.problem(),
            (400, "Incorrect username or password")
        );
        let refresh = User { access: somebody.refresh.clone(), ..somebody.clone() };
        assert_eq!(server.get("/users/refresh", &refresh).await.problem(), (401, "Invalid token"));
        // To others they are not there.
        let bob = server.user("bob").await;
        let follow = format!("/users/{}/follow", somebody.id);
        assert_eq!(server.post(&follow, &bob, Value::Null).await.problem(), (404, "User not found"));
        for list in ["followers", "following"] {
            let list = server.get(&format!("/users/{}/{list}", somebody.id), None).await;
            assert_eq!(list.problem(), (404, "User not found"));
        }
        db.execute("UPDATE users SET username = 'gone' || id, email = 'gone' || id || '@example.com'").await;
    }
}

#[database_test]
async fn a_user_who_is_gone_has_no_token(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let pair = server.login("ann", PASSWORD).await.ok();
    db.execute(&format!("DELETE FROM users WHERE id = {}", ann.id)).await;
    let token = pair["access_token"].as_str().unwrap().to_owned();
    let gone = User { access: token, ..ann.clone() };
    assert_eq!(server.get("/users/me", &gone).await.problem(), (401, "Invalid token"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_routes_do_not_mind_a_token_that_is_no_good() {
    let db = test_support::TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    server.new_post(&ann, "hi", false).await;
    let open = operations().into_iter().filter(|(method, path)| !is_closed(method, path));
    for operation in open.filter(|(_, path)| path != "/users/refresh") {
        let without = authorized(&server, &operation, None).await;
        for stale in ["Bearer null", "Bearer a.b.c", &format!("Bearer {}", ann.refresh), "Basic YTpi", "x"] {
            let with = authorized(&server, &operation, Some(stale.as_bytes())).await;
            assert!(with.looks_like(&without), "{operation:?} {stale}: {with:?} is not as {without:?}");
        }
    }
}
