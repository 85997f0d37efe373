//! No secret in clear: not in the log at its most talkative, not in an answer, not in a table.

use std::fmt::Write as _;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::{program::Program, report, tables::dump};

const KEY: &str = "9f2c47d10be85a63c4e7f01829ab3d5c";
const PASSWORDS: [&str; 4] = ["first-Pw-8Zq1", "wrong-Pw-7Yk2", "second-Pw-6Xj3", "third-Pw-5Wh4"];

/// What a life has shown.
struct Life<'a> {
    program: &'a Program,
    /// Everything that must be nowhere.
    secrets: Vec<(&'static str, String)>,
    /// Every answer, those that hand over tokens without them.
    answers: String,
}

impl Life<'_> {
    fn secret(&mut self, what: &'static str, value: &str) {
        self.secrets.push((what, value.to_owned()));
    }

    async fn ask(&mut self, request: RequestBuilder, expected: u16) -> Value {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        assert_eq!(status, expected, "{text}");
        let mut body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let whole = body.clone();
        for token in ["access_token", "refresh_token"] {
            if let Some(value) = body.get_mut(token).map(Value::take) {
                self.secret(token, value.as_str().unwrap());
            }
        }
        writeln!(self.answers, "{headers:?} {body}").unwrap();
        whole
    }

    async fn post(&mut self, path: &str, body: Value, expected: u16) -> Value {
        self.ask(self.program.request(Method::POST, path).json(&body), expected).await
    }

    /// The newest mail with this in it.
    async fn mail(&self, field: &str) -> String {
        for _ in 0..1000 {
            let latest = self.program.request(Method::GET, "/dev/inbox/latest?to=ann@example.com");
            if let Some((200, mail)) = self.program.send(latest).await
                && let Some(found) = mail[field].as_str()
            {
                return found.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("no mail with {field} came");
    }
}

async fn live(program: &Program) -> Life<'_> {
    let mut life = Life { program, secrets: vec![("key", KEY.to_owned())], answers: String::new() };
    for password in PASSWORDS {
        life.secret("password", password);
    }
    let [first, wrong, second, third] = PASSWORDS;
    let who = json!({"username": "ann", "email": "ann@example.com", "password": first});
    life.post("/users/register", who, 200).await;
    let code = life.mail("otp").await;
    let guess = if code == "123456" { "654321" } else { "123456" };
    life.post("/users/verify-otp", json!({"email": "ann@example.com", "otp": guess}), 400).await;
    life.post("/users/verify-otp", json!({"email": "ann@example.com", "otp": code}), 200).await;
    life.secret("code", &code);
    life.post("/users/login", json!({"username": "ann", "password": wrong}), 400).await;
    // A wrong type is answered with a problem, which must not repeat it.
    life.post("/users/login", json!({"username": "ann", "password": [wrong]}), 422).await;
    let pair = life.post("/users/login", json!({"username": "ann", "password": first}), 200).await;
    let body = json!({"refresh_token": pair["refresh_token"]});
    let pair = life.post("/users/refresh", body, 200).await;
    let access = pair["access_token"].as_str().unwrap().to_owned();
    for token in [access.as_str(), "not-A-token-4Vg5"] {
        let path = format!("/socket.io/?EIO=4&transport=polling&token={token}");
        let open = life.ask(program.request(Method::GET, &path), 200).await;
        let open: Value = serde_json::from_str(open.as_str().unwrap().trim_start_matches('0')).unwrap();
        let path = format!("{path}&sid={}", open["sid"].as_str().unwrap());
        life.ask(program.request(Method::POST, &path).body(format!("40{}", json!({"token": token}))), 200)
            .await;
        life.ask(program.request(Method::GET, &path), 200).await;
    }
    life.secret("socket token", "not-A-token-4Vg5");
    let change = program.request(Method::POST, "/users/change-password").bearer_auth(&access);
    life.ask(change.json(&json!({"current_password": first, "new_password": second})), 200).await;
    life.post("/users/forgot-password", json!({"email": "ann@example.com"}), 200).await;
    let link = life.mail("link").await;
    let token = link.split_once("token=").unwrap().1.to_owned();
    life.secret("reset token", &token);
    life.post("/users/reset-password", json!({"token": token, "new_password": third}), 200).await;
    life.post("/users/reset-password", json!({"token": token, "new_password": third}), 400).await;
    let pair = life.post("/users/login", json!({"username": "ann", "password": third}), 200).await;
    let logout = program.request(Method::POST, "/users/logout");
    life.ask(logout.bearer_auth(pair["access_token"].as_str().unwrap()), 200).await;
    life
}

async fn no_secret_is_anywhere(db: &TestDatabase) {
    let settings =
        [("DATABASE_URL", db.url()), ("SECRET_KEY", KEY), ("RUST_LOG", "trace"), ("DEBUG", "true")];
    let mut program = Program::new(&settings);
    program.start().await;
    let life = live(&program).await;
    let places = [("log", program.log()), ("answers", life.answers), ("tables", dump(db).await)];
    let mut violated = Vec::new();
    for (place, text) in &places {
        assert!(text.len() > 500, "{place} are empty: {text}");
        for (what, secret) in &life.secrets {
            // Six digits alone: they may be part of a longer number.
            let is_code = secret.len() == 6;
            let is_there = text.match_indices(secret.as_str()).any(|(at, _)| {
                let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
                let (before, after) = (&text.as_bytes()[..at], &text.as_bytes()[at + secret.len()..]);
                !is_code || !digit(before.last()) && !digit(after.first()) && before.last() != Some(&b'.')
            });
            if is_there {
                let line = text.lines().find(|line| line.contains(secret.as_str())).unwrap_or_default();
                let line: String = line.chars().take(400).collect();
                violated.push(format!("{what} in the {place}: {line}"));
            }
        }
    }
    report("secrets in clear", places.len() * life.secrets.len(), &violated);
}

#[database_test]
async fn no_secret_is_in_the_log_an_answer_or_a_table(db: TestDatabase) {
    no_secret_is_anywhere(&db).await;
}
