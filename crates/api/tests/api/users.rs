use std::time::Duration;

use application::{random, tokens::TokenService};
use chrono::{TimeDelta, Utc};
use domain::{
    sessions::{RefreshId, SessionId},
    users::UserId,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::helpers::{PASSWORD, Server, User};

const BAD_LOGIN: (u16, &str) = (400, "Incorrect username or password");
const BAD_TOKEN: (u16, &str) = (401, "Invalid token");

fn with_token(user: &User, token: &str) -> User {
    User { access: token.to_owned(), ..user.clone() }
}

#[database_test]
async fn a_newcomer_registers_verifies_and_is_logged_in(db: TestDatabase) {
    let server = Server::start(&db).await;
    let registered = server.register("Ann", " Ann@Example.com ").await.ok();
    assert_eq!(registered, json!({"success": true, "message": "OTP sent to your email"}));
    assert_eq!(server.login("ann", PASSWORD).await.problem(), (403, "Please verify your email first"));
    assert_eq!(server.login("ann", "wrong password").await.problem(), BAD_LOGIN);
    let otp = server.otp("ann@example.com").await;
    let pair =
        server.post("/users/verify-otp", None, json!({"email": "ANN@example.com", "otp": otp})).await.ok();
    assert_eq!((&pair["token_type"], &pair["expires_in"]), (&json!("bearer"), &json!(1800)));
    let ann = server.known("Ann", "ann@example.com", &pair).await;
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
async fn a_login_comes_as_a_form_as_multipart_or_as_json(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
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
    let stale = with_token(&ann, "null");
    assert_eq!(
        server.post("/users/login", &stale, json!({"username": "ann", "password": PASSWORD})).await.status,
        200
    );
}

#[database_test]
async fn what_is_taken_is_told_unless_addresses_are_hidden(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
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
async fn a_hidden_address_gets_the_answer_of_a_new_one_and_its_owner_a_mail(db: TestDatabase) {
    let server = Server::start_with(&db, &[("HIDE_REGISTERED_EMAILS", "true")]).await;
    let ann = server.user("ann").await;
    let again = server.register("other", &ann.email).await;
    let new = server.register("fresh", "fresh@example.com").await;
    assert_eq!((again.status, &again.json), (new.status, &new.json));
    server.mail(&ann.email, "You Already Have an Account", |mail| mail["otp"].is_null()).await;
    assert_eq!(server.login("other", PASSWORD).await.problem(), BAD_LOGIN);
}

#[database_test]
async fn a_code_activates_only_what_was_registered_with_it(db: TestDatabase) {
    let server = Server::start(&db).await;
    let email = "victim@example.com";
    let attack = json!({"username": "attacker", "email": email, "password": "password of the attacker"});
    assert_eq!(server.post("/users/register", None, attack).await.status, 200);
    let theirs = server.otp(email).await;
    server.register("victim", email).await.ok();
    let mine = server.mail(email, "Your OTP Verification Code", |mail| mail["otp"] != theirs.as_str()).await;
    let body = json!({"email": email, "otp": mine["otp"]});
    let pair = server.post("/users/verify-otp", None, body.clone()).await.ok();
    assert_eq!(server.known("victim", email, &pair).await.name, "victim");
    assert_eq!(server.login(email, "password of the attacker").await.problem(), BAD_LOGIN);
    assert_eq!(server.login("attacker", "password of the attacker").await.problem(), BAD_LOGIN);
    for otp in [theirs.as_str(), mine["otp"].as_str().unwrap()] {
        let again = server.post("/users/verify-otp", None, json!({"email": email, "otp": otp})).await;
        assert_eq!(again.problem(), (400, "Invalid OTP or OTP already used"));
    }
}

#[database_test]
async fn a_code_survives_five_wrong_guesses_also_at_once(db: TestDatabase) {
    let server = Server::start(&db).await;
    let email = "ann@example.com";
    server.register("ann", email).await.ok();
    let otp = server.otp(email).await;
    let wrong = if otp == "000000" { "000001" } else { "000000" };
    let guess = |otp: &str| server.post("/users/verify-otp", None, json!({"email": email, "otp": otp}));
    for answer in join_all((0..20).map(|_| guess(wrong))).await {
        assert_eq!(answer.problem(), (400, "Invalid OTP or OTP already used"));
    }
    assert_eq!(guess(&otp).await.problem(), (400, "Invalid OTP or OTP already used"));
    // Registering again sends a new code.
    server.register("ann", email).await.ok();
    let fresh = server.mail(email, "Your OTP Verification Code", |mail| mail["otp"] != otp.as_str()).await;
    assert_eq!(guess(fresh["otp"].as_str().unwrap()).await.status, 200);
    let unknown = json!({"email": "nobody@example.com", "otp": otp});
    assert_eq!(
        server.post("/users/verify-otp", None, unknown).await.problem(),
        (400, "Invalid OTP or OTP already used")
    );
}

#[database_test]
async fn a_refresh_token_works_once_with_a_grace_for_parallel_tabs(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let refresh = async |token: &str| server.get("/users/refresh", &with_token(&ann, token)).await;
    let tabs = join_all((0..10).map(|_| refresh(&ann.refresh))).await;
    let second: Vec<_> =
        tabs.into_iter().map(|tab| tab.ok()["refresh_token"].as_str().unwrap().to_owned()).collect();
    assert!(second.iter().all(|token| *token == second[0]) && second[0] != ann.refresh);
    let third = server.post("/users/refresh", None, json!({"refresh_token": second[0]})).await.ok();
    assert_eq!(
        server.get("/users/me", &with_token(&ann, third["access_token"].as_str().unwrap())).await.status,
        200
    );
    // The successor has been used: the first token is a stolen one now, and ends the session.
    assert_eq!(refresh(&ann.refresh).await.problem(), BAD_TOKEN);
    assert_eq!(refresh(third["refresh_token"].as_str().unwrap()).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
}

#[database_test]
async fn without_a_grace_a_second_use_ends_the_session(db: TestDatabase) {
    let server = Server::start_with(&db, &[("REFRESH_GRACE_SECONDS", "0")]).await;
    let ann = server.user("ann").await;
    let bearer = with_token(&ann, &ann.refresh);
    // A HEAD uses nothing up.
    let head = server.request(Method::HEAD, "/users/refresh").bearer_auth(&ann.refresh);
    assert_eq!(server.send(head).await.status, 405);
    assert_eq!(server.post("/users/refresh", &bearer, json!(null)).await.status, 200);
    assert_eq!(server.get("/users/refresh", &bearer).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", None).await.problem(), (401, "Not authenticated"));
    assert_eq!(server.post("/users/refresh", None, json!({})).await.problem(), (401, "Not authenticated"));
}

#[database_test]
async fn a_token_of_one_kind_is_none_of_another(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    assert_eq!(server.get("/users/me", &with_token(&ann, &ann.refresh)).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", &ann).await.problem(), BAD_TOKEN);
    for broken in ["", "x", "null", "a.b.c"] {
        assert_eq!(server.get("/users/me", &with_token(&ann, broken)).await.status, 401, "{broken}");
    }
    let basic = server.request(Method::GET, "/users/me").basic_auth("ann", Some(PASSWORD));
    let answer = server.send(basic).await;
    assert_eq!(answer.problem(), (401, "Not authenticated"));
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
}

#[database_test]
async fn only_tokens_of_live_sessions_open_anything(db: TestDatabase) {
    let key = random::token::<32>().unwrap();
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    let ann = server.user("ann").await;
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
    assert_eq!(server.get("/users/me", &with_token(&ann, &pair.access)).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", &with_token(&ann, &pair.refresh)).await.problem(), BAD_TOKEN);
}

#[database_test]
async fn changing_the_password_ends_all_other_sessions(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let other = server.known("ann", &ann.email, &server.login("ann", PASSWORD).await.ok()).await;
    let change = |current: &str| json!({"current_password": current, "new_password": "battery staple"});
    let wrong = server.post("/users/change-password", &ann, change("wrong password")).await;
    assert_eq!(wrong.problem(), (400, "Incorrect Password"));
    let done = server.post("/users/change-password", &ann, change(PASSWORD)).await.ok();
    assert_eq!(done, json!({"success": true, "message": "Password Changed Successfully"}));
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
    assert_eq!(server.get("/users/me", &other).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", &with_token(&other, &other.refresh)).await.problem(), BAD_TOKEN);
    assert_eq!(server.login("ann", PASSWORD).await.problem(), BAD_LOGIN);
    assert_eq!(server.login("ann", "battery staple").await.status, 200);
}

#[database_test]
async fn a_reset_link_works_once_and_only_the_newest(db: TestDatabase) {
    let server = Server::start_with(&db, &[("FRONTEND_URL", "https://app.example.com/")]).await;
    let ann = server.user("ann").await;
    let asked = json!({"success": true, "message": "Password reset link sent to your email"});
    let forgot = |email: &str| server.post("/users/forgot-password", None, json!({"email": email}));
    assert_eq!(forgot("nobody@example.com").await.ok(), asked);
    assert_eq!(forgot(&ann.email).await.ok(), asked);
    let first = server.mail(&ann.email, "Reset Your Password", |_| true).await;
    assert_eq!(forgot(&ann.email).await.ok(), asked);
    let second = server.mail(&ann.email, "Reset Your Password", |mail| mail["link"] != first["link"]).await;
    let token = |mail: &serde_json::Value| {
        let link = mail["link"].as_str().unwrap();
        link.strip_prefix("https://app.example.com/reset-password?token=").unwrap().to_owned()
    };
    let reset = |token: &str| {
        server.post("/users/reset-password", None, json!({"token": token, "new_password": "battery staple"}))
    };
    for bad in [token(&first), ann.access.clone(), ann.refresh.clone(), String::new()] {
        assert_eq!(reset(&bad).await.problem(), (400, "Invalid or expired reset token"));
    }
    assert_eq!(server.get("/users/me", &with_token(&ann, &token(&second))).await.problem(), BAD_TOKEN);
    assert_eq!(
        reset(&token(&second)).await.ok(),
        json!({"success": true, "message": "Password reset successfully"})
    );
    assert_eq!(reset(&token(&second)).await.problem(), (400, "Invalid or expired reset token"));
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
    assert_eq!(server.login("ann", "battery staple").await.status, 200);
}

#[database_test]
async fn logging_out_ends_the_session_and_no_other(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let other = server.known("ann", &ann.email, &server.login("ann", PASSWORD).await.ok()).await;
    assert_eq!(server.post("/users/logout", &ann, json!(null)).await.status, 200);
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", &with_token(&ann, &ann.refresh)).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/me", &other).await.status, 200);
}

#[database_test]
async fn passwords_are_any_characters_and_none_is_cut_off(db: TestDatabase) {
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
    let answer = server.post("/users/register", None, too_long).await;
    assert_eq!((answer.status, &answer.json["errors"][0]["type"]), (422, &json!("string_too_long")));
}

#[database_test]
async fn registering_twice_at_once_gives_a_name_to_one_address(db: TestDatabase) {
    let server = Server::start(&db).await;
    let emails: Vec<String> = (0..12).map(|n| format!("ann{n}@example.com")).collect();
    let answers = join_all(emails.iter().map(|email| server.register("ann", email))).await;
    let accepted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(accepted, 1);
    assert!(
        answers.iter().all(|answer| [(200, ""), (400, "Username already taken")].contains(&answer.problem()))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_could_not_be_sent_goes_out_later_and_the_request_does_not_wait() {
    let db = test_support::TestDatabase::postgres().await;
    // Nobody listens there.
    let settings = [("SMTP_HOST", "127.0.0.1"), ("SMTP_PORT", "1"), ("SENDER_EMAIL", "noreply@example.com")];
    let server = Server::start_with(&db, &settings).await;
    server.register("ann", "ann@example.com").await.ok();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.get("/dev/inbox", None).await.status, 404);
    drop(server);
    let server = Server::start(&db).await;
    server.otp("ann@example.com").await;
}
