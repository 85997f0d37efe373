//! Whole bodies of every JSON response with status 200, and of every kind of problem that a request can provoke.
//!
//! `INSTA_UPDATE=always cargo test -p api --test api snapshots` updates the files below `snapshots/`.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value, json};
use test_support::{TestDatabase, database_test, media::images::png};

use crate::harness::{PASSWORD, Response, Server, User, file_form, operations};

/// Bodies by request, e.g. `GET /posts/{post_id}`.
struct Recorder {
    server: Server,
    bodies: Map<String, Value>,
}

impl Recorder {
    async fn start(db: &TestDatabase) -> Self {
        Self { server: Server::start(db).await, bodies: Map::new() }
    }

    /// Sends a request and records the body of its response under the operation, e.g. `GET /posts/{post_id}`.
    async fn record(&mut self, operation: &str, path: &str, user: Option<&User>, body: Value) -> Value {
        let method: Method = operation.split(' ').next().unwrap().parse().unwrap();
        let mut request = self.server.request(method, path);
        if let Some(user) = user {
            request = request.bearer_auth(&user.access);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = self.server.send(request).await;
        self.insert(operation, &response)
    }

    fn insert(&mut self, name: &str, response: &Response) -> Value {
        let mut body = response.json.clone();
        redact(&mut body);
        let previous = self.bodies.insert(name.to_owned(), body);
        assert!(previous.is_none(), "{name} was recorded twice");
        response.json.clone()
    }
}

/// Replaces values that differ between runs.
fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(object) => {
            for (key, value) in object {
                match key.as_str() {
                    "created_at" | "updated_at" | "last_used_at" | "expires_at" | "read_at" | "sent_at"
                        if value.is_string() =>
                    {
                        *value = "[time]".into();
                    }
                    "access_token" | "refresh_token" => *value = "[token]".into(),
                    "registration_id" | "request_id" | "media_url" | "next_cursor" | "otp" | "html"
                    | "text"
                        if value.is_string() =>
                    {
                        *value = format!("[{key}]").into();
                    }
                    _ => redact(value),
                }
            }
        }
        _ => {}
    }
}

/// Registers, verifies and returns a user with an email address that is the same in every run.
async fn register(recorder: &mut Recorder, name: &str) -> User {
    let email = format!("{name}@example.com");
    recorder.server.register(name, &email).await.ok();
    let body = json!({"email": email, "otp": recorder.server.otp(&email).await});
    let pair = recorder.server.post("/users/verify-otp", None, body).await.ok();
    recorder.server.user_with_tokens(name, &email, &pair).await
}

async fn record_accounts(recorder: &mut Recorder) -> User {
    let email = "ann@example.com";
    let body = json!({"username": "ann", "email": email, "password": PASSWORD});
    recorder.record("POST /users/register", "/users/register", None, body).await;
    let body = json!({"email": email, "otp": recorder.server.otp(email).await});
    let pair = recorder.record("POST /users/verify-otp", "/users/verify-otp", None, body).await;
    let ann = recorder.server.user_with_tokens("ann", email, &pair).await;
    let body = json!({"username": "ann", "password": PASSWORD});
    recorder.record("POST /users/login", "/users/login", None, body).await;
    let refresh = json!({"refresh_token": ann.refresh});
    let pair = recorder.record("POST /users/refresh", "/users/refresh", None, refresh).await;
    let ann = recorder.server.user_with_tokens("ann", email, &pair).await;
    let bearer = ann.with_token(&ann.refresh);
    let pair = recorder.record("GET /users/refresh", "/users/refresh", Some(&bearer), json!(null)).await;
    recorder.server.user_with_tokens("ann", email, &pair).await
}

async fn record_posts(recorder: &mut Recorder, ann: &User, bob: &User) {
    let (ann, bob, none) = (Some(ann), Some(bob), json!(null));
    recorder.record("POST /posts/", "/posts/", ann, json!({"content": "hi"})).await;
    recorder.record("POST /posts/{post_id}/like", "/posts/1/like", bob, none.clone()).await;
    let comments = "/posts/1/comment";
    recorder.record("POST /posts/{post_id}/comment", comments, bob, json!({"content": "nice"})).await;
    let comment = "/posts/{post_id}/comment/{comment_id}";
    let change = json!({"content": "very nice"});
    recorder.record(&format!("PUT {comment}"), "/posts/1/comment/1", bob, change).await;
    recorder.record("GET /posts/{post_id}/comment", comments, None, none.clone()).await;
    recorder.record("GET /posts/", "/posts/", bob, none.clone()).await;
    recorder.record("GET /posts/{post_id}", "/posts/1", bob, none.clone()).await;
    recorder.record("PUT /posts/{post_id}", "/posts/1", ann, json!({"content": "hello"})).await;
}

async fn record_follows_and_notifications(recorder: &mut Recorder, ann: &User, bob: &User) {
    let (ann, bob, none) = (Some(ann), Some(bob), json!(null));
    recorder.record("POST /users/{user_id}/follow", "/users/1/follow", bob, none.clone()).await;
    recorder.record("GET /users/{user_id}/followers", "/users/1/followers", None, none.clone()).await;
    recorder.record("GET /users/{user_id}/following", "/users/2/following", None, none.clone()).await;
    recorder.record("GET /users/me", "/users/me", ann, none.clone()).await;
    let list = recorder.record("GET /notifications/", "/notifications/", ann, none.clone()).await;
    let id = &list["notifications"][0]["id"];
    let (read, path) = (format!("/notifications/{id}/read"), format!("/notifications/{id}"));
    recorder.record("PUT /notifications/{notification_id}/read", &read, ann, none.clone()).await;
    recorder.record("DELETE /notifications/{notification_id}", &path, ann, none.clone()).await;
    recorder.record("PUT /notifications/read-all", "/notifications/read-all", ann, none.clone()).await;
    recorder.record("DELETE /users/{user_id}/unfollow", "/users/1/unfollow", bob, none.clone()).await;
}

async fn record_deletions(recorder: &mut Recorder, ann: &User, bob: &User) {
    let none = json!(null);
    let comment = "DELETE /posts/{post_id}/comment/{comment_id}";
    recorder.record(comment, "/posts/1/comment/1", Some(bob), none.clone()).await;
    recorder.record("DELETE /posts/{post_id}/like", "/posts/1/like", Some(bob), none.clone()).await;
    recorder.record("DELETE /posts/{post_id}", "/posts/1", Some(ann), none.clone()).await;
}

async fn record_sessions_and_passwords(recorder: &mut Recorder, ann: &User) {
    let none = json!(null);
    let other = recorder.server.new_session(ann).await;
    let sessions = recorder.server.get("/users/me/sessions", &other).await;
    let list = sessions.json["sessions"].as_array().unwrap();
    let current = list.iter().find(|session| session["current"] == true).unwrap();
    let path = format!("/users/me/sessions/{}", current["id"]);
    recorder.record("DELETE /users/me/sessions/{session_id}", &path, Some(ann), none.clone()).await;
    recorder.record("DELETE /users/me/sessions", "/users/me/sessions", Some(ann), none.clone()).await;
    let mut list = recorder.server.get("/users/me/sessions", ann).await;
    list.json["sessions"][0]["id"] = "[id]".into();
    recorder.insert("GET /users/me/sessions", &list);
    let body = json!({"current_password": PASSWORD, "new_password": "battery staple"});
    recorder.record("POST /users/change-password", "/users/change-password", Some(ann), body).await;
    let body = json!({"email": ann.email});
    recorder.record("POST /users/forgot-password", "/users/forgot-password", None, body).await;
    let mail = recorder.server.mail(&ann.email, "Reset Your Password", |_| true).await;
    let token = mail["link"].as_str().unwrap().split_once("token=").unwrap().1;
    let body = json!({"token": token, "new_password": PASSWORD});
    recorder.record("POST /users/reset-password", "/users/reset-password", None, body).await;
    let ann = recorder.server.new_session(ann).await;
    recorder.record("POST /users/logout", "/users/logout", Some(&ann), none).await;
}

/// Operations with a JSON body at status 200, apart from the inbox of development.
fn documented() -> BTreeSet<String> {
    let has_json =
        |operation: &Value| operation["responses"]["200"]["content"].get("application/json").is_some();
    let with_json =
        operations().filter(|(_, path, operation)| has_json(operation) && !path.starts_with("/dev/"));
    with_json.map(|(method, path, _)| format!("{method} {path}")).collect()
}

#[database_test]
async fn successful_responses_match_their_snapshots(db: TestDatabase) {
    let mut recorder = Recorder::start(&db).await;
    for (operation, path) in [
        ("GET /livez", "/livez"),
        ("GET /readyz", "/readyz"),
        ("GET /socket/status", "/socket/status"),
        ("GET /problems", "/problems"),
        ("GET /problems/{code}", "/problems/not_found"),
    ] {
        recorder.record(operation, path, None, json!(null)).await;
    }
    let ann = record_accounts(&mut recorder).await;
    let bob = register(&mut recorder, "bob").await;
    record_posts(&mut recorder, &ann, &bob).await;
    record_follows_and_notifications(&mut recorder, &ann, &bob).await;
    record_deletions(&mut recorder, &ann, &bob).await;
    record_sessions_and_passwords(&mut recorder, &ann).await;
    // The path that clients use; the document has it without a slash.
    let is_same = |operation: &str| operation.trim_end_matches('/').to_owned();
    let recorded: BTreeSet<_> = recorder.bodies.keys().map(|operation| is_same(operation)).collect();
    let documented: BTreeSet<_> = documented().iter().map(|operation| is_same(operation)).collect();
    assert_eq!(recorded, documented, "a documented operation is not recorded, or the reverse");
    insta::assert_json_snapshot!("successful_responses", recorder.bodies);
}

#[database_test]
async fn problems_match_their_snapshots(db: TestDatabase) {
    let mut recorder = Recorder::start(&db).await;
    let (ann, bob) = (register(&mut recorder, "ann").await, register(&mut recorder, "bob").await);
    recorder.server.register("unverified", "unverified@example.com").await.ok();
    recorder.server.create_post(&ann, "hi", false).await;
    recorder.server.create_post(&ann, "secret", true).await;
    let (anyone, forged) = (Some(&bob), ann.with_token("forged"));
    let (none, like) = (json!(null), "/posts/1/like");
    let login = |name: &str, password: &str| json!({"username": name, "password": password});
    let registration = |name: &str, email: &str, password: &str| json!({"username": name, "email": email, "password": password});
    recorder.server.post("/posts/1/comment", &ann, json!({"content": "hi"})).await.ok();
    recorder.server.post(like, &ann, json!(null)).await.ok();
    recorder.server.post("/users/1/follow", &bob, json!(null)).await.ok();
    let taken_email = registration("other", "ann@example.com", PASSWORD);
    let taken_name = registration("ann", "other@example.com", PASSWORD);
    let otp = |otp: &str| json!({"email": "unverified@example.com", "otp": otp});
    let right = recorder.server.otp("unverified@example.com").await;
    let wrong_otp = otp(if right == "000000" { "000001" } else { "000000" });
    let wrong_password = json!({"current_password": "wrong password", "new_password": "battery staple"});
    let wrong_reset = json!({"token": "x", "new_password": "battery staple"});
    let unverified = login("unverified", PASSWORD);
    for (name, path, user, body) in [
        ("GET without token", "/users/me", None, none.clone()),
        ("GET with invalid token", "/users/me", Some(&forged), none.clone()),
        ("GET of an unknown path", "/nowhere", anyone, none.clone()),
        ("PATCH of a known path", "/posts/1", anyone, none.clone()),
        ("GET with invalid parameters", "/posts/?page=0&page_size=x", anyone, none.clone()),
        ("GET with an invalid cursor", "/posts/?cursor=x", anyone, none.clone()),
        ("GET with an invalid id", "/posts/x", anyone, none.clone()),
        ("GET of a private post", "/posts/2", anyone, none.clone()),
        ("POST of an empty post", "/posts/", anyone, json!({})),
        ("POST of an invalid post", "/posts/", anyone, json!({"content": 1, "is_private": "perhaps"})),
        ("PUT of a post of another user", "/posts/1", anyone, json!({"content": "x"})),
        ("DELETE of a post of another user", "/posts/1", anyone, none.clone()),
        ("POST of a second like", like, Some(&ann), none.clone()),
        ("DELETE of a missing like", like, anyone, none.clone()),
        ("POST of an empty comment", "/posts/1/comment", anyone, json!({"content": ""})),
        ("DELETE of a comment of another user", "/posts/1/comment/1", anyone, none.clone()),
        ("POST of a second follow", "/users/1/follow", anyone, none.clone()),
        ("POST of a follow of oneself", "/users/2/follow", anyone, none.clone()),
        ("POST of a follow of an unknown user", "/users/9/follow", anyone, none.clone()),
        ("DELETE of a missing follow", "/users/2/unfollow", Some(&ann), none.clone()),
        ("PUT of an unknown notification", "/notifications/9/read", anyone, none.clone()),
        ("DELETE of an unknown session", "/users/me/sessions/9", anyone, none.clone()),
        ("POST of a login with a wrong password", "/users/login", None, login("ann", "wrong password")),
        ("POST of a login of an unverified user", "/users/login", None, unverified),
        ("POST of a registration with a taken email", "/users/register", None, taken_email),
        ("POST of a registration with a taken name", "/users/register", None, taken_name),
        ("POST of a short password", "/users/register", None, registration("x1y", "x@example.com", "short")),
        ("POST of an invalid registration", "/users/register", None, registration("", "x", PASSWORD)),
        ("POST of a wrong code", "/users/verify-otp", None, wrong_otp),
        ("POST of a malformed code", "/users/verify-otp", None, otp("12345")),
        ("POST of a wrong current password", "/users/change-password", anyone, wrong_password),
        ("POST of a wrong reset token", "/users/reset-password", None, wrong_reset),
    ] {
        recorder.record(name, path, user, body).await;
    }
    let broken = recorder.server.request(Method::POST, "/posts/").bearer_auth(&bob.access);
    let broken = broken.header("content-type", "application/json").body("{");
    let response = recorder.server.send(broken).await;
    recorder.insert("POST of broken JSON", &response);
    let xml = recorder.server.request(Method::POST, "/posts/").bearer_auth(&bob.access);
    let response = recorder.server.send(xml.header("content-type", "application/xml").body("<a/>")).await;
    recorder.insert("POST of XML", &response);
    let huge = json!({"content": "x".repeat(10_000_000)});
    recorder.record("POST of a huge body", "/posts/", anyone, huge).await;
    for (name, file) in [
        ("POST of a text as a file", b"hello".to_vec()),
        ("POST of half an image", png()[..png().len() / 2].to_vec()),
    ] {
        let request = recorder.server.request(Method::POST, "/posts/").bearer_auth(&bob.access);
        let response = recorder.server.send(request.multipart(file_form(file, "x.png"))).await;
        recorder.insert(name, &response);
    }
    insta::assert_json_snapshot!("problems", recorder.bodies);
}
