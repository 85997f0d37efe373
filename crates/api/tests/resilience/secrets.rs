//! No secret in clear text: not in the log at level `trace`, not in a response, not in a table.

use std::fmt::Write as _;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::{
    harness::{Process, start_socket_clients},
    resilience::{report, table_dump::dump},
};

const KEY: &str = "9f2c47d10be85a63c4e7f01829ab3d5c";

const PASSWORDS: [&str; 4] = ["first-Pw-8Zq1", "wrong-Pw-7Yk2", "second-Pw-6Xj3", "third-Pw-5Wh4"];

/// Secrets and responses of everything an account does.
struct Recording<'a> {
    server: &'a Process,
    /// Values that must not appear anywhere.
    secrets: Vec<(&'static str, String)>,
    /// Every response, without the tokens it issues.
    responses: String,
}

impl Recording<'_> {
    fn secret(&mut self, name: &'static str, value: &str) {
        self.secrets.push((name, value.to_owned()));
    }

    async fn send(&mut self, request: RequestBuilder, expected: u16) -> Value {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        assert_eq!(status, expected, "{text}");
        let mut body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let whole = body.clone();
        for token in ["access_token", "refresh_token"] {
            if let Some(value) = body.get_mut(token).map(Value::take) {
                self.secret(token, value.as_str().unwrap());
            }
        }
        writeln!(self.responses, "{headers:?} {body}").unwrap();
        whole
    }

    async fn post(&mut self, path: &str, body: Value, expected: u16) -> Value {
        self.send(self.server.request(Method::POST, path).json(&body), expected).await
    }

    /// Waits for a mail with this field and returns the field.
    async fn mail(&self, field: &str) -> String {
        for _ in 0..1000 {
            let latest = self.server.request(Method::GET, "/dev/inbox/latest?to=ann@example.com");
            if let Some((200, mail)) = self.server.try_send(latest).await
                && let Some(found) = mail[field].as_str()
            {
                return found.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("no mail with {field} came");
    }
}

async fn record(server: &Process) -> Recording<'_> {
    let mut recording =
        Recording { server, secrets: vec![("key", KEY.to_owned())], responses: String::new() };
    for password in PASSWORDS {
        recording.secret("password", password);
    }
    let [first, wrong, second, third] = PASSWORDS;
    let registration = json!({"username": "ann", "email": "ann@example.com", "password": first});
    recording.post("/users/register", registration, 200).await;
    let code = recording.mail("otp").await;
    let guess = if code == "123456" { "654321" } else { "123456" };
    recording.post("/users/verify-otp", json!({"email": "ann@example.com", "otp": guess}), 400).await;
    recording.post("/users/verify-otp", json!({"email": "ann@example.com", "otp": code}), 200).await;
    recording.secret("code", &code);
    recording.post("/users/login", json!({"username": "ann", "password": wrong}), 400).await;
    // The problem about a wrong type must not echo the value.
    recording.post("/users/login", json!({"username": "ann", "password": [wrong]}), 422).await;
    let pair = recording.post("/users/login", json!({"username": "ann", "password": first}), 200).await;
    let body = json!({"refresh_token": pair["refresh_token"]});
    let pair = recording.post("/users/refresh", body, 200).await;
    let access = pair["access_token"].as_str().unwrap().to_owned();
    for token in [access.as_str(), "not-A-token-4Vg5"] {
        let path = format!("/socket.io/?EIO=4&transport=polling&token={token}");
        let open = recording.send(server.request(Method::GET, &path), 200).await;
        let open: Value = serde_json::from_str(open.as_str().unwrap().trim_start_matches('0')).unwrap();
        let path = format!("{path}&sid={}", open["sid"].as_str().unwrap());
        recording
            .send(server.request(Method::POST, &path).body(format!("40{}", json!({"token": token}))), 200)
            .await;
        recording.send(server.request(Method::GET, &path), 200).await;
    }
    recording.secret("socket token", "not-A-token-4Vg5");
    let change = server.request(Method::POST, "/users/change-password").bearer_auth(&access);
    recording.send(change.json(&json!({"current_password": first, "new_password": second})), 200).await;
    recording.post("/users/forgot-password", json!({"email": "ann@example.com"}), 200).await;
    let link = recording.mail("link").await;
    let token = link.split_once("token=").unwrap().1.to_owned();
    recording.secret("reset token", &token);
    recording.post("/users/reset-password", json!({"token": token, "new_password": third}), 200).await;
    recording.post("/users/reset-password", json!({"token": token, "new_password": third}), 400).await;
    let pair = recording.post("/users/login", json!({"username": "ann", "password": third}), 200).await;
    let logout = server.request(Method::POST, "/users/logout");
    recording.send(logout.bearer_auth(pair["access_token"].as_str().unwrap()), 200).await;
    recording
}

async fn search_secrets(db: &TestDatabase) {
    let settings =
        [("DATABASE_URL", db.url()), ("SECRET_KEY", KEY), ("RUST_LOG", "trace"), ("DEBUG", "true")];
    let mut server = Process::new(&settings);
    server.launch().await;
    let recording = record(&server).await;
    let outputs = [("log", server.log()), ("responses", recording.responses), ("tables", dump(db).await)];
    let mut failures = Vec::new();
    for (output, text) in &outputs {
        assert!(text.len() > 500, "{output} are empty: {text}");
        for (name, secret) in &recording.secrets {
            // Six digits can be part of a longer number.
            let is_code = secret.len() == 6;
            let is_there = text.match_indices(secret.as_str()).any(|(at, _)| {
                let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
                let (before, after) = (&text.as_bytes()[..at], &text.as_bytes()[at + secret.len()..]);
                !is_code || !digit(before.last()) && !digit(after.first()) && before.last() != Some(&b'.')
            });
            if is_there {
                let line = text.lines().find(|line| line.contains(secret.as_str())).unwrap_or_default();
                let line: String = line.chars().take(400).collect();
                failures.push(format!("{name} in the {output}: {line}"));
            }
        }
    }
    report("secrets in clear", outputs.len() * recording.secrets.len(), &failures);
}

#[database_test]
async fn log_responses_and_tables_contain_no_secret(db: TestDatabase) {
    search_secrets(&db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_contains_no_socket_token() {
    let db = TestDatabase::sqlite().await;
    let server = Process::start(&[("DATABASE_URL", db.url()), ("RUST_LOG", "trace")]).await;
    let ann = server.create_user("ann").await;
    let mut clients = start_socket_clients();
    for (location, credentials) in [
        ("auth", json!({"token": ann.access})),
        ("query", json!({"token": ann.access})),
        ("extraHeaders", json!({"Authorization": format!("Bearer {}", ann.access)})),
    ] {
        for transport in ["websocket", "polling"] {
            let client = format!("{location}/{transport}");
            clients.open(&client, &server.url, &json!({location: credentials, "transports": [transport]}));
            clients.next(&client, "connected").await;
        }
    }
    let (log, signature) = (server.log(), ann.access.rsplit('.').next().unwrap());
    assert!(log.contains("TRACE") && log.contains("/socket.io"), "{log}");
    assert!(!log.contains(signature), "{log}");
}
