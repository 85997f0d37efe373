//! What works once: codes and refresh tokens, tried by many at the same instant, across restarts, and after their time.

use std::collections::HashSet;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::{
    program::{PASSWORD, Program},
    report,
};

const KEY: &str = "9f2c47d10be85a63c4e7f01829ab3d5c";
const EMAIL: &str = "ann@example.com";

async fn started(db: &TestDatabase, settings: &[(&str, &str)]) -> Program {
    let own = [("DATABASE_URL", db.url()), ("SECRET_KEY", KEY)];
    let mut program = Program::new(&[&own, settings].concat());
    program.start().await;
    program
}

async fn post(program: &Program, path: &str, body: Value) -> (u16, Value) {
    program.send(program.request(Method::POST, path).json(&body)).await.unwrap()
}

/// Access and refresh token of somebody who is there and logs in.
async fn log_in(program: &Program) -> (String, String) {
    let (status, pair) =
        post(program, "/users/login", json!({"username": "ann", "password": PASSWORD})).await;
    assert_eq!(status, 200, "{pair}");
    tokens(&pair)
}

fn tokens(pair: &Value) -> (String, String) {
    let of = |name: &str| pair[name].as_str().unwrap().to_owned();
    (of("access_token"), of("refresh_token"))
}

/// The code of the next mail.
async fn newer_otp(program: &Program, old: &str) -> String {
    for _ in 0..1000 {
        let newest = program.otp(EMAIL).await;
        if newest != old {
            return newest;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no new code came");
}

async fn refresh(program: &Program, token: &str) -> (u16, Value) {
    post(program, "/users/refresh", json!({"refresh_token": token})).await
}

/// The status of a request with this access token.
async fn me(program: &Program, access: &str) -> u16 {
    program.send(program.request(Method::GET, "/users/me").bearer_auth(access)).await.unwrap().0
}

/// When a token expires, in seconds.
fn expires(token: &str) -> i64 {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["exp"].as_i64().unwrap()
}

#[database_test]
async fn of_200_guesses_of_a_code_at_once_five_count(db: TestDatabase) {
    let program = started(&db, &[]).await;
    let who = json!({"username": "ann", "email": EMAIL, "password": PASSWORD});
    assert_eq!(post(&program, "/users/register", who.clone()).await.0, 200);
    let otp = program.otp(EMAIL).await;
    let guess =
        async |otp: &str| post(&program, "/users/verify-otp", json!({"email": EMAIL, "otp": otp})).await;
    let wrong: Vec<String> =
        (0..).map(|number| format!("{number:06}")).filter(|code| *code != otp).take(200).collect();
    let answers = join_all(wrong.iter().map(|code| guess(code))).await;
    let is_refused = |(status, problem): &(u16, Value)| *status == 400 && problem["code"] == "invalid_otp";
    let mut violated: Vec<String> =
        answers.iter().filter(|answer| !is_refused(answer)).map(|answer| format!("{answer:?}")).collect();
    let counted = db.number("SELECT max(tries) FROM registrations").await;
    if counted != 5 {
        violated.push(format!("{counted} tries were counted"));
    }
    let late = guess(&otp).await;
    if !is_refused(&late) {
        violated.push(format!("the right code after them: {late:?}"));
    }
    assert_eq!(post(&program, "/users/register", who).await.0, 200);
    let fresh = newer_otp(&program, &otp).await;
    let (status, pair) = guess(&fresh).await;
    if status != 200 {
        violated.push(format!("a new code: {status} {pair}"));
    }
    report("guesses of a code at once", answers.len() + 2, &violated);
}

#[database_test]
async fn a_right_code_among_many_at_once_lets_in_once(db: TestDatabase) {
    let program = started(&db, &[]).await;
    let who = json!({"username": "ann", "email": EMAIL, "password": PASSWORD});
    assert_eq!(post(&program, "/users/register", who).await.0, 200);
    let right = json!({"email": EMAIL, "otp": program.otp(EMAIL).await});
    let answers = join_all((0..20).map(|_| post(&program, "/users/verify-otp", right.clone()))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1, "{answers:?}");
    assert_eq!(db.number("SELECT count(*) FROM users").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM sessions").await, 1);
}

#[database_test]
async fn of_20_uses_of_a_refresh_token_at_once_comes_one_successor(db: TestDatabase) {
    let program = started(&db, &[("REFRESH_GRACE_SECONDS", "3600")]).await;
    program.user("ann").await;
    let (access, first) = log_in(&program).await;
    let answers = join_all((0..20).map(|_| refresh(&program, &first))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let successors: HashSet<String> = answers.iter().map(|(_, pair)| tokens(pair).1).collect();
    assert_eq!(successors.len(), 1, "two different successors");
    let second = successors.into_iter().next().unwrap();
    assert_ne!(first, second);
    // Once the successor is used, what came before it is a stolen token.
    let (status, third) = refresh(&program, &second).await;
    assert_eq!((status, me(&program, &access).await), (200, 200));
    let (access, third) = tokens(&third);
    assert_eq!(refresh(&program, &first).await.0, 401);
    assert_eq!((refresh(&program, &third).await.0, me(&program, &access).await), (401, 401));
}

#[database_test]
async fn of_20_uses_at_once_without_a_grace_one_counts_and_the_session_ends(db: TestDatabase) {
    let program = started(&db, &[("REFRESH_GRACE_SECONDS", "0")]).await;
    program.user("ann").await;
    let (access, first) = log_in(&program).await;
    let answers = join_all((0..20).map(|_| refresh(&program, &first))).await;
    let won: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    let (newer_access, second) = tokens(&won[0].1);
    assert_eq!(refresh(&program, &second).await.0, 401);
    assert_eq!((me(&program, &access).await, me(&program, &newer_access).await), (401, 401));
    // Other sessions have nothing to do with it.
    let (access, other) = log_in(&program).await;
    assert_eq!((me(&program, &access).await, refresh(&program, &other).await.0), (200, 200));
}

#[database_test]
async fn a_used_refresh_token_is_used_also_after_a_restart(db: TestDatabase) {
    let mut program = started(&db, &[("REFRESH_GRACE_SECONDS", "3600")]).await;
    program.user("ann").await;
    let (_, first) = log_in(&program).await;
    let (_, second) = tokens(&refresh(&program, &first).await.1);
    program.kill();
    program.start().await;
    // The grace outlives the process, and so does the successor: an answer may have been lost with it.
    assert_eq!(tokens(&refresh(&program, &first).await.1).1, second);
    let (access, third) = tokens(&refresh(&program, &second).await.1);
    assert_eq!(me(&program, &access).await, 200);
    program.kill();
    program.start().await;
    assert_eq!(refresh(&program, &first).await.0, 401);
    assert_eq!((refresh(&program, &third).await.0, me(&program, &access).await), (401, 401));
    program.kill();
    program.start().await;
    assert_eq!((refresh(&program, &third).await.0, me(&program, &access).await), (401, 401));
}

#[database_test]
async fn a_session_ends_after_30_days_however_often_it_is_refreshed(db: TestDatabase) {
    let mut program = started(&db, &[("REFRESH_GRACE_SECONDS", "0")]).await;
    program.user("ann").await;
    let (_, mut token) = log_in(&program).await;
    // The session of the registration goes, so that the tables have one.
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
    let (begun, ends) = (db.number(&seconds("created_at")).await, db.number(&seconds("ends_at")).await);
    assert_eq!(ends - begun, 30 * 24 * 60 * 60);
    for _ in 0..3 {
        token = tokens(&refresh(&program, &token).await.1).1;
    }
    assert_eq!(db.number(&seconds("ends_at")).await, ends, "a refresh prolongs the session");

    // Its end comes near: nothing that is handed out lives longer.
    let end_in = |minutes| {
        let end = (Utc::now() + TimeDelta::minutes(minutes)).format("%F %T%.6f+00:00");
        format!("UPDATE sessions SET ends_at = '{end}'")
    };
    db.execute(&end_in(10)).await;
    let ends = db.number(&seconds("ends_at")).await;
    let (status, pair) = refresh(&program, &token).await;
    assert_eq!(status, 200, "{pair}");
    let (access, token) = tokens(&pair);
    assert_eq!((expires(&access), expires(&token)), (ends, ends));
    assert!(pair["expires_in"].as_i64().unwrap() <= 600, "{pair}");
    assert_eq!(me(&program, &access).await, 200);

    // Ended by the tables alone: the tokens themselves have not expired.
    program.kill();
    db.execute(&end_in(-1)).await;
    program.start().await;
    assert_eq!((me(&program, &access).await, refresh(&program, &token).await.0), (401, 401));
}
