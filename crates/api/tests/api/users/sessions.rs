//! `/users/me/sessions`.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test, redis_url, socketio::Clients};

use crate::harness::{PASSWORD, Server, User};

const BAD_TOKEN: (u16, &str) = (401, "Invalid token");

const NO_SESSION: (u16, &str) = (404, "Session not found");

async fn sessions(server: &Server, user: &User) -> Vec<Value> {
    server.get("/users/me/sessions", user).await.ok()["sessions"].as_array().unwrap().clone()
}

/// The id of the session by which this user calls.
async fn current(server: &Server, user: &User) -> Value {
    let sessions = sessions(server, user).await;
    let mut current = sessions.iter().filter(|session| session["current"] == true);
    let found = current.next().unwrap()["id"].clone();
    assert!(current.next().is_none());
    found
}

#[database_test]
async fn sessions_list_shows_client_and_last_use(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    server.create_user("bob").await;
    let login = server.request(Method::POST, "/users/login").header("user-agent", "A Phone/1.0");
    let form = [("username", "ann"), ("password", PASSWORD)];
    server.send(login.form(&form)).await.ok();
    let listed = sessions(&server, &ann).await;
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["client"], &listed[0]["current"]), (&json!("A Phone/1.0"), &json!(false)));
    assert_eq!((&listed[1]["client"], &listed[1]["current"]), (&json!(null), &json!(true)));
    assert_eq!(listed[0]["created_at"], listed[0]["last_used_at"]);
    assert!(listed[0]["expires_at"].as_str() > listed[0]["last_used_at"].as_str());
    // A refresh is a use.
    let bearer = User { access: ann.refresh.clone(), ..ann.clone() };
    server.get("/users/refresh", &bearer).await.ok();
    let listed = sessions(&server, &ann).await;
    assert_eq!(listed[0]["current"], true);
    assert!(listed[0]["last_used_at"].as_str() > listed[0]["created_at"].as_str());
}

#[database_test]
async fn session_is_ended_by_its_own_user_only(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let phone = server.new_session(&ann).await;
    let path = format!("/users/me/sessions/{}", current(&server, &phone).await);
    assert_eq!(server.delete(&path, &bob).await.problem(), NO_SESSION);
    assert_eq!(server.get("/users/me", &phone).await.status, 200);
    assert_eq!(server.delete(&path, &ann).await.ok(), json!({"success": true, "message": "Session ended"}));
    assert_eq!(server.get("/users/me", &phone).await.problem(), BAD_TOKEN);
    let bearer = User { access: phone.refresh.clone(), ..phone };
    assert_eq!(server.get("/users/refresh", &bearer).await.problem(), BAD_TOKEN);
    assert_eq!(server.delete(&path, &ann).await.problem(), NO_SESSION);
    for nobodys in ["1", "-1", "99999999999999999999"] {
        let response = server.delete(&format!("/users/me/sessions/{nobodys}"), &ann).await;
        assert_eq!(response.problem(), NO_SESSION);
    }
    assert_eq!(server.delete("/users/me/sessions/x", &ann).await.status, 422);
    // One's own ends as well.
    let mine = format!("/users/me/sessions/{}", current(&server, &ann).await);
    assert_eq!(server.delete(&mine, &ann).await.status, 200);
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
}

#[database_test]
async fn ending_all_other_sessions_closes_their_sockets(db: TestDatabase) {
    let (server, mut clients) = (Server::start(&db).await, Clients::start(env!("CARGO_TARGET_TMPDIR")));
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let (phone, tablet) = (server.new_session(&ann).await, server.new_session(&ann).await);
    for (name, user) in [("mine", &ann), ("phone", &phone), ("tablet", &tablet)] {
        clients.open(name, &server.url, &json!({"auth": {"token": user.access}}));
        clients.next(name, "connected").await;
    }
    let tablets = current(&server, &tablet).await;
    server.delete(&format!("/users/me/sessions/{tablets}"), &ann).await.ok();
    clients.next("tablet", "disconnect").await;
    let done = server.delete("/users/me/sessions", &ann).await.ok();
    assert_eq!(done, json!({"success": true, "message": "Other sessions ended", "ended": 1}));
    clients.next("phone", "disconnect").await;
    assert!(!clients.has("mine", "disconnect"));
    assert_eq!(server.get("/users/me", &phone).await.problem(), BAD_TOKEN);
    assert_eq!(sessions(&server, &ann).await.len(), 1);
    assert_eq!(server.delete("/users/me/sessions", &ann).await.ok()["ended"], 0);
    assert_eq!(server.get("/users/me", &bob).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_sessions_closes_sockets_at_another_server() {
    let (db, key) = (TestDatabase::postgres().await, application::random::token::<32>().unwrap());
    let settings = [("REDIS_URL", redis_url()), ("SECRET_KEY", key.as_str())];
    let (here, there) = (Server::start_with(&db, &settings).await, Server::start_with(&db, &settings).await);
    let mut clients = Clients::start(env!("CARGO_TARGET_TMPDIR"));
    let ann = here.create_user("ann").await;
    let phone = there.new_session(&ann).await;
    clients.open("phone", &there.url, &json!({"auth": {"token": phone.access}}));
    clients.next("phone", "connected").await;
    assert_eq!(here.delete("/users/me/sessions", &ann).await.ok()["ended"], 1);
    clients.next("phone", "disconnect").await;
    assert_eq!(there.get("/users/me", &phone).await.problem(), BAD_TOKEN);
}
