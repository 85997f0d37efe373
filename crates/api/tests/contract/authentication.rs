//! Which operations need a token, and which tokens they accept.

use std::collections::BTreeSet;

use application::{random, tokens::TokenService};
use chrono::{TimeDelta, Utc};
use domain::{
    sessions::{RefreshId, SessionId},
    users::UserId,
};
use reqwest::Method;
use serde_json::Value;
use test_support::{TestDatabase, database_test};

use crate::harness::{PASSWORD, Response, Server, User, closed_operations, operation_paths};

/// Operations that anonymous clients may call, with values in place of their path parameters.
fn open_operations() -> impl Iterator<Item = (Method, String)> {
    let closed = closed_operations();
    operation_paths().into_iter().filter(move |operation| !closed.contains(operation))
}

async fn authorized(server: &Server, (method, path): &(Method, String), value: Option<&[u8]>) -> Response {
    let request = server.request(method.clone(), path);
    server
        .send(match value {
            Some(value) => request.header("authorization", value),
            None => request,
        })
        .await
}

#[test]
fn open_routes_are_exactly_these() {
    let open: BTreeSet<String> = open_operations().map(|(method, path)| format!("{method} {path}")).collect();
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
async fn closed_routes_reject_missing_and_invalid_tokens(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let refresh = format!("Bearer {}", ann.refresh);
    for operation in &closed_operations() {
        let none: [Option<&[u8]>; 5] =
            [None, Some(b""), Some(b"Bearer"), Some(b"Basic YTpi"), Some(b"Bearer \xff")];
        for value in none {
            let response = authorized(&server, operation, value).await;
            assert_eq!(response.problem(), (401, "Not authenticated"), "{operation:?} {value:?}");
            assert_eq!(response.header("www-authenticate").as_deref(), Some("Bearer"));
        }
        for value in ["Bearer null", "Bearer a.b.c", "bearer undefined", &refresh] {
            let response = authorized(&server, operation, Some(value.as_bytes())).await;
            assert_eq!(response.problem(), (401, "Invalid token"), "{operation:?} {value}");
            assert_eq!(response.header("www-authenticate").as_deref(), Some("Bearer"));
        }
    }
    // Proxies may pick another one of several headers.
    for second in [format!("Bearer {}", ann.access), "Bearer null".to_owned(), "Basic YTpi".to_owned()] {
        let several = [("GET", "/users/me", &ann.access), ("GET", "/users/refresh", &ann.refresh)];
        for (method, path, token) in several {
            let request = server.request(method.parse().unwrap(), path).bearer_auth(token);
            let response = server.send(request.header("authorization", &second)).await;
            assert_eq!(response.problem(), (401, "Invalid token"), "{path} {second}");
        }
        let both = server.request(Method::GET, "/users/1/followers").bearer_auth(&ann.access);
        assert_eq!(server.send(both.header("authorization", &second)).await.status, 200, "{second}");
    }
    for scheme in ["bearer", "BEARER", "beArer"] {
        let value = format!("{scheme} {}", ann.access);
        let me = (Method::GET, "/users/me".to_owned());
        assert_eq!(authorized(&server, &me, Some(value.as_bytes())).await.status, 200, "{scheme}");
    }
}

#[database_test]
async fn inactive_and_unverified_users_are_rejected_everywhere(db: TestDatabase) {
    let server = Server::start(&db).await;
    for (column, detail) in
        [("is_active", "Inactive user"), ("is_verified", "Please verify your email first")]
    {
        let user = server.create_user(column).await;
        // A new session, because the state of the first one is cached for some seconds.
        let pair = server.login(&user.name, PASSWORD).await.ok();
        let token = format!("Bearer {}", pair["access_token"].as_str().unwrap());
        db.execute(&format!("UPDATE users SET {column} = false WHERE id = {}", user.id)).await;
        for operation in &closed_operations() {
            let response = authorized(&server, operation, Some(token.as_bytes())).await;
            assert_eq!(response.problem(), (403, detail), "{operation:?}");
        }
        assert_eq!(server.login(&user.name, PASSWORD).await.problem(), (403, detail));
        assert_eq!(
            server.login(&user.name, "wrong password").await.problem(),
            (400, "Incorrect username or password")
        );
        let refresh = User { access: user.refresh.clone(), ..user.clone() };
        assert_eq!(server.get("/users/refresh", &refresh).await.problem(), (401, "Invalid token"));
        // Others see no such user.
        let bob = server.create_user("bob").await;
        let follow = format!("/users/{}/follow", user.id);
        assert_eq!(server.post(&follow, &bob, Value::Null).await.problem(), (404, "User not found"));
        for list in ["followers", "following"] {
            let list = server.get(&format!("/users/{}/{list}", user.id), None).await;
            assert_eq!(list.problem(), (404, "User not found"));
        }
        db.execute("UPDATE users SET username = 'gone' || id, email = 'gone' || id || '@example.com'").await;
    }
}

#[database_test]
async fn token_of_a_deleted_user_is_invalid(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let pair = server.login("ann", PASSWORD).await.ok();
    db.execute(&format!("DELETE FROM users WHERE id = {}", ann.id)).await;
    let token = pair["access_token"].as_str().unwrap().to_owned();
    let gone = ann.with_token(&token);
    assert_eq!(server.get("/users/me", &gone).await.problem(), (401, "Invalid token"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_routes_ignore_invalid_tokens() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    server.create_post(&ann, "hi", false).await;
    for operation in open_operations().filter(|(_, path)| path != "/users/refresh") {
        let without = authorized(&server, &operation, None).await;
        for stale in ["Bearer null", "Bearer a.b.c", &format!("Bearer {}", ann.refresh), "Basic YTpi", "x"] {
            let with = authorized(&server, &operation, Some(stale.as_bytes())).await;
            assert!(with.looks_like(&without), "{operation:?} {stale}: {with:?} and {without:?}");
        }
    }
}

const BAD_TOKEN: (u16, &str) = (401, "Invalid token");

#[database_test]
async fn access_and_refresh_tokens_are_not_interchangeable(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    assert_eq!(server.get("/users/me", &ann.with_token(&ann.refresh)).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", &ann).await.problem(), BAD_TOKEN);
    for broken in ["", "x", "null", "a.b.c"] {
        assert_eq!(server.get("/users/me", &ann.with_token(broken)).await.status, 401, "{broken}");
    }
    let basic = server.request(Method::GET, "/users/me").basic_auth("ann", Some(PASSWORD));
    let response = server.send(basic).await;
    assert_eq!(response.problem(), (401, "Not authenticated"));
    assert_eq!(response.header("www-authenticate").as_deref(), Some("Bearer"));
}

#[database_test]
async fn token_of_an_unknown_session_is_invalid(db: TestDatabase) {
    let key = random::token::<32>().unwrap();
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    let ann = server.create_user("ann").await;
    let tokens = TokenService::new(key.as_bytes(), TimeDelta::minutes(30), TimeDelta::days(7));
    let now = Utc::now();
    let pair = tokens.issue_pair(
        UserId(ann.id),
        SessionId(1),
        &RefreshId("x".into()),
        now,
        now,
        now + TimeDelta::days(1),
    );
    let pair = pair.unwrap();
    assert_eq!(server.get("/users/me", &ann.with_token(&pair.access)).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", &ann.with_token(&pair.refresh)).await.problem(), BAD_TOKEN);
}
