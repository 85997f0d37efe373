//! `POST /users/register`.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{PASSWORD, Response, Server};

const BAD_LOGIN: (u16, &str) = (400, "Incorrect username or password");

#[database_test]
async fn registration_verification_and_login_succeed(db: TestDatabase) {
    let server = Server::start(&db).await;
    let mut registered = server.register("Ann", " Ann@Example.com ").await.ok();
    assert_eq!(registered["registration_id"].take().as_str().map(str::len), Some(22));
    let expected = json!({"success": true, "message": "OTP sent to your email", "registration_id": null});
    assert_eq!(registered, expected);
    assert_eq!(server.login("ann", PASSWORD).await.problem(), (403, "Please verify your email first"));
    assert_eq!(server.login("ann", "wrong password").await.problem(), BAD_LOGIN);
    let otp = server.otp("ann@example.com").await;
    let pair =
        server.post("/users/verify-otp", None, json!({"email": "ANN@example.com", "otp": otp})).await.ok();
    assert_eq!((&pair["token_type"], &pair["expires_in"]), (&json!("bearer"), &json!(1800)));
    let ann = server.user_with_tokens("Ann", "ann@example.com", &pair).await;
    let me = server.get("/users/me", &ann).await.ok();
    for (key, value) in [
        ("success", json!(true)),
        ("username", json!("Ann")),
        ("email", json!("ann@example.com")),
        ("posts_count", json!(0)),
        ("followers", json!([])),
        ("following", json!([])),
    ] {
        assert_eq!(me[key], value, "{key}");
    }
    for login in ["Ann", "ANN", "ann@example.com", " ANN@example.com "] {
        assert_eq!(server.login(login, PASSWORD).await.status, 200, "{login}");
    }
    assert_eq!(server.login("ann", "wrong password").await.problem(), BAD_LOGIN);
    assert_eq!(server.login("nobody", PASSWORD).await.problem(), BAD_LOGIN);
}

#[database_test]
async fn taken_email_and_username_are_rejected(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    assert_eq!(
        server.register("other", &ann.email).await.problem(),
        (400, "User already exists and is verified")
    );
    assert_eq!(server.register("ANN", "other@example.com").await.problem(), (400, "Username already taken"));
    let short = json!({"username": "bob", "email": "bob@example.com", "password": "1234567"});
    assert_eq!(
        server.post("/users/register", None, short).await.problem(),
        (400, "Password must be at least 8 characters")
    );
}

#[database_test]
async fn hidden_email_gets_the_response_of_a_new_one_and_its_owner_a_mail(db: TestDatabase) {
    let server = Server::start_with(&db, &[("HIDE_REGISTERED_EMAILS", "true")]).await;
    let ann = server.create_user("ann").await;
    let again = server.register("other", &ann.email).await;
    let new = server.register("fresh", "fresh@example.com").await;
    let shape = |response: &Response| {
        let mut body = response.json.clone();
        let id = body["registration_id"].take();
        (response.status, body, id.as_str().map(str::len))
    };
    assert_eq!(shape(&again), shape(&new));
    assert_ne!(again.json["registration_id"], new.json["registration_id"]);
    server.mail(&ann.email, "You Already Have an Account", |mail| mail["otp"].is_null()).await;
    assert_eq!(server.login("other", PASSWORD).await.problem(), BAD_LOGIN);
}

#[database_test]
async fn passwords_accept_any_character_and_are_never_truncated(db: TestDatabase) {
    let server = Server::start(&db).await;
    let long = "ä🦀".repeat(64);
    let body = json!({"username": "ann", "email": "ann@example.com", "password": long});
    assert_eq!(server.post("/users/register", None, body).await.status, 200);
    let otp = server.otp("ann@example.com").await;
    server.post("/users/verify-otp", None, json!({"email": "ann@example.com", "otp": otp})).await.ok();
    assert_eq!(server.login("ann", &long).await.status, 200);
    let cut: String = long.chars().take(127).collect();
    assert_eq!(server.login("ann", &cut).await.problem(), BAD_LOGIN);
    let too_long = json!({"username": "bob", "email": "bob@example.com", "password": "x".repeat(129)});
    let response = server.post("/users/register", None, too_long).await;
    assert_eq!(response.validation_error(), (422, "string_too_long"));
}

#[database_test]
async fn concurrent_registrations_of_one_username_accept_one(db: TestDatabase) {
    let server = Server::start(&db).await;
    let emails: Vec<String> = (0..12).map(|n| format!("ann{n}@example.com")).collect();
    let responses = join_all(emails.iter().map(|email| server.register("ann", email))).await;
    let accepted = responses.iter().filter(|response| response.status == 200).count();
    assert_eq!(accepted, 1);
    assert!(
        responses
            .iter()
            .all(|response| [(200, ""), (400, "Username already taken")].contains(&response.problem()))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsent_mail_is_sent_after_a_restart() {
    let db = TestDatabase::postgres().await;
    // Nothing listens at this address.
    let settings = [("SMTP_HOST", "127.0.0.1"), ("SMTP_PORT", "1"), ("SENDER_EMAIL", "noreply@example.com")];
    let server = Server::start_with(&db, &settings).await;
    server.register("ann", "ann@example.com").await.ok();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.get("/dev/inbox", None).await.status, 404);
    drop(server);
    let server = Server::start(&db).await;
    server.otp("ann@example.com").await;
}

#[database_test]
async fn internationalized_domain_is_one_account_in_every_spelling(db: TestDatabase) {
    let server = Server::start(&db).await;
    server.register("ann", "ann@m\u{fc}nchen.example").await.ok();
    let otp = server.otp("ann@xn--mnchen-3ya.example").await;
    let body = json!({"email": "Ann@M\u{dc}NCHEN.example", "otp": otp});
    server.post("/users/verify-otp", None, body).await.ok();
    for email in ["ann@m\u{fc}nchen.example", "ann@mu\u{308}nchen.example", "ann@XN--mnchen-3ya.example"] {
        let response = server.register("other", email).await;
        assert_eq!(response.problem(), (400, "User already exists and is verified"), "{email:?}");
        assert_eq!(server.login(email, PASSWORD).await.status, 200, "{email:?}");
    }
    for email in
        ["\u{e4}nn@example.com", "\"a b\"@example.com", "\"ann\"@m\u{fc}nchen.example", "ann@127.0.0.1"]
    {
        let response = server.register("other", email).await;
        assert_eq!(response.validation_error(), (422, "value_error"), "{email:?}");
    }
}
