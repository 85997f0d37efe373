//! Codes and refresh tokens under concurrent use, across restarts and after their lifetime.

use std::collections::HashSet;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::{
    harness::{PASSWORD, Process},
    resilience::report,
};

const KEY: &str = "9f2c47d10be85a63c4e7f01829ab3d5c";

const EMAIL: &str = "ann@example.com";

async fn started(db: &TestDatabase, settings: &[(&str, &str)]) -> Process {
    let own = [("DATABASE_URL", db.url()), ("SECRET_KEY", KEY)];
    let mut server = Process::new(&[&own, settings].concat());
    server.launch().await;
    server
}

async fn post(server: &Process, path: &str, body: Value) -> (u16, Value) {
    server.try_send(server.request(Method::POST, path).json(&body)).await.unwrap()
}

/// Logs in and returns access and refresh token.
async fn log_in(server: &Process) -> (String, String) {
    let (status, pair) = post(server, "/users/login", json!({"username": "ann", "password": PASSWORD})).await;
    assert_eq!(status, 200, "{pair}");
    tokens(&pair)
}

fn tokens(pair: &Value) -> (String, String) {
    let of = |name: &str| pair[name].as_str().unwrap().to_owned();
    (of("access_token"), of("refresh_token"))
}

async fn refresh(server: &Process, token: &str) -> (u16, Value) {
    post(server, "/users/refresh", json!({"refresh_token": token})).await
}

/// Returns the status of a request with this access token.
async fn me(server: &Process, access: &str) -> u16 {
    server.try_send(server.request(Method::GET, "/users/me").bearer_auth(access)).await.unwrap().0
}

/// Expiry of a token, in Unix seconds.
fn expires(token: &str) -> i64 {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["exp"].as_i64().unwrap()
}

#[database_test]
async fn only_five_of_200_concurrent_otp_guesses_count(db: TestDatabase) {
    let server = started(&db, &[]).await;
    let registration = json!({"username": "ann", "email": EMAIL, "password": PASSWORD});
    assert_eq!(post(&server, "/users/register", registration.clone()).await.0, 200);
    let otp = server.otp(EMAIL).await;
    let guess =
        async |otp: &str| post(&server, "/users/verify-otp", json!({"email": EMAIL, "otp": otp})).await;
    let wrong: Vec<String> =
        (0..).map(|number| format!("{number:06}")).filter(|code| *code != otp).take(200).collect();
    let responses = join_all(wrong.iter().map(|code| guess(code))).await;
    let is_refused = |(status, problem): &(u16, Value)| *status == 400 && problem["code"] == "invalid_otp";
    let mut failures: Vec<String> = responses
        .iter()
        .filter(|response| !is_refused(response))
        .map(|response| format!("{response:?}"))
        .collect();
    let counted = db.number("SELECT max(tries) FROM registrations").await;
    if counted != 5 {
        failures.push(format!("{counted} tries were counted"));
    }
    let late = guess(&otp).await;
    if !is_refused(&late) {
        failures.push(format!("the valid code afterwards: {late:?}"));
    }
    assert_eq!(post(&server, "/users/register", registration).await.0, 200);
    let fresh = server.new_otp(EMAIL, &otp).await;
    let (status, pair) = guess(&fresh).await;
    if status != 200 {
        failures.push(format!("a new code: {status} {pair}"));
    }
    report("concurrent guesses of a code", responses.len() + 2, &failures);
}

#[database_test]
async fn concurrent_uses_of_a_valid_otp_create_one_account(db: TestDatabase) {
    let server = started(&db, &[]).await;
    let registration = json!({"username": "ann", "email": EMAIL, "password": PASSWORD});
    assert_eq!(post(&server, "/users/register", registration).await.0, 200);
    let right = json!({"email": EMAIL, "otp": server.otp(EMAIL).await});
    let responses = join_all((0..20).map(|_| post(&server, "/users/verify-otp", right.clone()))).await;
    assert_eq!(responses.iter().filter(|(status, _)| *status == 200).count(), 1, "{responses:?}");
    assert_eq!(db.number("SELECT count(*) FROM users").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM sessions").await, 1);
}

#[database_test]
async fn concurrent_refreshes_return_the_same_successor(db: TestDatabase) {
    let server = started(&db, &[("REFRESH_GRACE_SECONDS", "3600")]).await;
    server.create_user("ann").await;
    let (access, first) = log_in(&server).await;
    let responses = join_all((0..20).map(|_| refresh(&server, &first))).await;
    assert!(responses.iter().all(|(status, _)| *status == 200), "{responses:?}");
    let successors: HashSet<String> = responses.iter().map(|(_, pair)| tokens(pair).1).collect();
    assert_eq!(successors.len(), 1, "two different successors");
    let second = successors.into_iter().next().unwrap();
    assert_ne!(first, second);
    // Once the successor is used, its predecessor counts as stolen.
    let (status, third) = refresh(&server, &second).await;
    assert_eq!((status, me(&server, &access).await), (200, 200));
    let (access, third) = tokens(&third);
    assert_eq!(refresh(&server, &first).await.0, 401);
    assert_eq!((refresh(&server, &third).await.0, me(&server, &access).await), (401, 401));
}

#[database_test]
async fn concurrent_refreshes_without_grace_period_end_the_session(db: TestDatabase) {
    let server = started(&db, &[("REFRESH_GRACE_SECONDS", "0")]).await;
    server.create_user("ann").await;
    let (access, first) = log_in(&server).await;
    let responses = join_all((0..20).map(|_| refresh(&server, &first))).await;
    let won: Vec<_> = responses.iter().filter(|(status, _)| *status == 200).collect();
    assert_eq!(won.len(), 1, "{responses:?}");
    let (newer_access, second) = tokens(&won[0].1);
    assert_eq!(refresh(&server, &second).await.0, 401);
    assert_eq!((me(&server, &access).await, me(&server, &newer_access).await), (401, 401));
    // Other sessions are not affected.
    let (access, other) = log_in(&server).await;
    assert_eq!((me(&server, &access).await, refresh(&server, &other).await.0), (200, 200));
}

#[database_test]
async fn used_refresh_token_stays_used_after_a_restart(db: TestDatabase) {
    let mut server = started(&db, &[("REFRESH_GRACE_SECONDS", "3600")]).await;
    server.create_user("ann").await;
    let (_, first) = log_in(&server).await;
    let (_, second) = tokens(&refresh(&server, &first).await.1);
    server.kill();
    server.launch().await;
    // Grace period and successor survive the process, because its last response may have been lost.
    assert_eq!(tokens(&refresh(&server, &first).await.1).1, second);
    let (access, third) = tokens(&refresh(&server, &second).await.1);
    assert_eq!(me(&server, &access).await, 200);
    server.kill();
    server.launch().await;
    assert_eq!(refresh(&server, &first).await.0, 401);
    assert_eq!((refresh(&server, &third).await.0, me(&server, &access).await), (401, 401));
    server.kill();
    server.launch().await;
    assert_eq!((refresh(&server, &third).await.0, me(&server, &access).await), (401, 401));
}

#[database_test]
async fn session_ends_after_30_days_despite_refreshes(db: TestDatabase) {
    let mut server = started(&db, &[("REFRESH_GRACE_SECONDS", "0")]).await;
    server.create_user("ann").await;
    let (_, mut token) = log_in(&server).await;
    // Deletes the session of the registration, so that only one is left.
    let newest = "SELECT max(created_at) FROM sessions";
    db.execute(&format!("DELETE FROM sessions WHERE created_at < ({newest})")).await;
    let is_postgres = db.url().starts_with("postgres");
    let seconds = |column: &str| {
        let seconds = if is_postgres {
            format!("floor(extract(epoch FROM {column}))")
        } else {
            format!("unixepoch({column})")
        };
        format!("SELECT CAST({seconds} AS text) AS text FROM sessions")
    };
    let (start, ends) = (db.number(&seconds("created_at")).await, db.number(&seconds("ends_at")).await);
    assert_eq!(ends - start, 30 * 24 * 60 * 60);
    for _ in 0..3 {
        token = tokens(&refresh(&server, &token).await.1).1;
    }
    assert_eq!(db.number(&seconds("ends_at")).await, ends, "a refresh prolongs the session");

    // Tokens issued shortly before the end expire with the session.
    let end_in = |minutes| {
        let end = (Utc::now() + TimeDelta::minutes(minutes)).format("%F %T%.6f+00:00");
        format!("UPDATE sessions SET ends_at = '{end}'")
    };
    db.execute(&end_in(10)).await;
    let ends = db.number(&seconds("ends_at")).await;
    let (status, pair) = refresh(&server, &token).await;
    assert_eq!(status, 200, "{pair}");
    let (access, token) = tokens(&pair);
    assert_eq!((expires(&access), expires(&token)), (ends, ends));
    assert!(pair["expires_in"].as_i64().unwrap() <= 600, "{pair}");
    assert_eq!(me(&server, &access).await, 200);

    // The session has ended in the database; the tokens themselves have not expired.
    server.kill();
    db.execute(&end_in(-1)).await;
    server.launch().await;
    assert_eq!((me(&server, &access).await, refresh(&server, &token).await.0), (401, 401));
}
