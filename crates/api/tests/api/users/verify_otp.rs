//! `POST /users/verify-otp`.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

const BAD_LOGIN: (u16, &str) = (400, "Incorrect username or password");

#[database_test]
async fn otp_activates_only_its_own_registration(db: TestDatabase) {
    let server = Server::start(&db).await;
    let email = "victim@example.com";
    let attack = json!({"username": "attacker", "email": email, "password": "password of the attacker"});
    assert_eq!(server.post("/users/register", None, attack).await.status, 200);
    let theirs = server.otp(email).await;
    server.register("victim", email).await.ok();
    let mine = server.mail(email, "Your OTP Verification Code", |mail| mail["otp"] != theirs.as_str()).await;
    let body = json!({"email": email, "otp": mine["otp"]});
    let pair = server.post("/users/verify-otp", None, body.clone()).await.ok();
    assert_eq!(pair["password_reset_required"], true);
    let victim = server.user_with_tokens("victim", email, &pair).await;
    assert_eq!(server.get("/users/me", &victim).await.ok()["username"], "victim");
    assert_eq!(server.login(email, "password of the attacker").await.problem(), BAD_LOGIN);
    assert_eq!(server.login("attacker", "password of the attacker").await.problem(), BAD_LOGIN);
    for otp in [theirs.as_str(), mine["otp"].as_str().unwrap()] {
        let again = server.post("/users/verify-otp", None, json!({"email": email, "otp": otp})).await;
        assert_eq!(again.problem(), (400, "Invalid OTP or OTP already used"));
    }
}

#[database_test]
async fn otp_is_invalid_after_five_wrong_guesses(db: TestDatabase) {
    let server = Server::start(&db).await;
    let email = "ann@example.com";
    server.register("ann", email).await.ok();
    let otp = server.otp(email).await;
    let wrong = if otp == "000000" { "000001" } else { "000000" };
    let guess = |otp: &str| server.post("/users/verify-otp", None, json!({"email": email, "otp": otp}));
    for response in join_all((0..20).map(|_| guess(wrong))).await {
        assert_eq!(response.problem(), (400, "Invalid OTP or OTP already used"));
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

/// Registers an address with a password and returns the `registration_id` and the mailed code.
async fn register(server: &Server, name: &str, email: &str, password: &str, old: &str) -> (String, String) {
    let body = json!({"username": name, "email": email, "password": password});
    let registered = server.post("/users/register", None, body).await.ok();
    (registered["registration_id"].as_str().unwrap().to_owned(), server.new_otp(email, old).await)
}

const MINE: &str = "password of the owner";
const THEIRS: &str = "password of the attacker";

#[database_test]
async fn registering_the_address_of_another_gains_nothing_in_any_order(db: TestDatabase) {
    let server = Server::start(&db).await;
    // Who registers when, the same username or another, and which of the codes the owner enters.
    for (n, order) in ["ot", "to", "oto", "tot"].into_iter().enumerate() {
        for entered in 0..order.len() {
            for same_name in [true, false] {
                let victim = format!("victim{n}{entered}{}", u8::from(same_name));
                let attacker = if same_name { victim.clone() } else { victim.replace("victim", "evil") };
                let email = format!("{victim}@example.com");
                let mut codes = vec![String::new()];
                for party in order.chars() {
                    let (name, password) = if party == 'o' { (&victim, MINE) } else { (&attacker, THEIRS) };
                    let (_, code) = register(&server, name, &email, password, codes.last().unwrap()).await;
                    codes.push(code);
                }
                let body = json!({"email": email, "otp": codes[entered + 1]});
                let pair = server.post("/users/verify-otp", None, body).await.ok();
                assert_eq!(pair["password_reset_required"], true, "{order} {entered}");
                let owner = server.user_with_tokens(&victim, &email, &pair).await;
                for password in [MINE, THEIRS] {
                    for login in [&email, &victim, &attacker] {
                        let response = server.login(login, password).await;
                        assert_eq!(response.problem(), BAD_LOGIN, "{order} {entered} {login} {password}");
                    }
                }
                let mail = server.mail(&email, "Reset Your Password", |_| true).await;
                let token = mail["link"].as_str().unwrap().split_once("token=").unwrap().1.to_owned();
                let body = json!({"token": token, "new_password": "battery staple"});
                server.post("/users/reset-password", None, body).await.ok();
                assert_eq!(server.login(&email, "battery staple").await.status, 200);
                // The reset ends the first session, as it ends all others.
                assert_eq!(server.get("/users/me", &owner).await.status, 401);
            }
        }
    }
}

#[database_test]
async fn registration_id_accepts_only_the_code_of_its_registration(db: TestDatabase) {
    let server = Server::start(&db).await;
    let email = "ann@example.com";
    let (mine, my_code) = register(&server, "ann", email, MINE, "").await;
    let (theirs, their_code) = register(&server, "ann", email, THEIRS, &my_code).await;
    let verify = |otp: &str, id: serde_json::Value| {
        let body = json!({"email": email, "otp": otp, "registration_id": id});
        server.post("/users/verify-otp", None, body)
    };
    let invalid = (400, "Invalid OTP or OTP already used");
    assert_eq!(verify(&their_code, json!(mine)).await.problem(), invalid);
    assert_eq!(verify(&my_code, json!(theirs)).await.problem(), invalid);
    for unknown in ["x", "AAAAAAAAAAAAAAAAAAAAAA", "\u{0}"] {
        assert_eq!(verify(&my_code, json!(unknown)).await.problem(), invalid, "{unknown:?}");
    }
    assert_eq!(verify(&my_code, json!(7)).await.validation_error(), (422, "string_type"));
    let pair = verify(&my_code, json!(mine)).await.ok();
    assert_eq!(pair.get("password_reset_required"), None);
    assert_eq!(server.login(email, THEIRS).await.problem(), BAD_LOGIN);
    assert_eq!(server.login(email, MINE).await.status, 200);
    assert_eq!(verify(&their_code, json!(theirs)).await.problem(), invalid);
}

#[database_test]
async fn registering_twice_with_one_password_keeps_it(db: TestDatabase) {
    let server = Server::start(&db).await;
    let email = "ann@example.com";
    let (_, first) = register(&server, "ann", email, MINE, "").await;
    let (_, second) = register(&server, "ann", email, MINE, &first).await;
    let body = json!({"email": email, "otp": second, "registration_id": null});
    let pair = server.post("/users/verify-otp", None, body).await.ok();
    assert_eq!(pair.get("password_reset_required"), None);
    assert_eq!(server.login(email, MINE).await.status, 200);
}

#[database_test]
async fn guesses_of_a_stranger_do_not_use_up_the_tries_of_the_owner(db: TestDatabase) {
    let server = Server::start_with(&db, &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let email = "ann@example.com";
    server.register("ann", email).await.ok();
    let otp = server.otp(email).await;
    let wrong = if otp == "000000" { "000001" } else { "000000" };
    let guess = async |from: String, otp: &str| {
        let request = server.request(Method::POST, "/users/verify-otp").header("x-forwarded-for", from);
        server.send(request.json(&json!({"email": email, "otp": otp}))).await
    };
    for stranger in 1..5 {
        for _ in 0..7 {
            let response = guess(format!("198.51.100.{stranger}"), wrong).await;
            assert_eq!(response.problem(), (400, "Invalid OTP or OTP already used"));
        }
    }
    assert_eq!(guess("198.51.100.1".into(), &otp).await.problem(), (400, "Invalid OTP or OTP already used"));
    assert_eq!(guess("203.0.113.7".into(), &otp).await.status, 200);
}

#[database_test]
async fn otp_is_invalid_after_25_guesses_in_all(db: TestDatabase) {
    let server = Server::start_with(&db, &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let email = "ann@example.com";
    server.register("ann", email).await.ok();
    let otp = server.otp(email).await;
    let wrong = if otp == "000000" { "000001" } else { "000000" };
    let guess = async |from: i32, otp: &str| {
        let request = server.request(Method::POST, "/users/verify-otp");
        let request = request.header("x-forwarded-for", format!("198.51.100.{from}"));
        server.send(request.json(&json!({"email": email, "otp": otp}))).await
    };
    for n in 0..25 {
        assert_eq!(guess(n, wrong).await.status, 400);
    }
    assert_eq!(guess(99, &otp).await.problem(), (400, "Invalid OTP or OTP already used"));
}

#[database_test]
async fn pasted_otp_is_accepted_and_a_malformed_one_costs_no_try(db: TestDatabase) {
    let server = Server::start(&db).await;
    let guess =
        |email: &str, otp: &str| server.post("/users/verify-otp", None, json!({"email": email, "otp": otp}));
    let separators = [" ", "-", "\u{a0}", "\u{2011}", "\u{200b}", "\u{202f}"];
    for (n, separator) in separators.into_iter().enumerate() {
        let email = format!("ann{n}@example.com");
        server.register(&format!("ann{n}"), &email).await.ok();
        let otp = server.otp(&email).await;
        for malformed in ["", "12345", "1234567", "12345x", "abcdef", "123.456"] {
            assert_eq!(
                guess(&email, malformed).await.validation_error(),
                (422, "value_error"),
                "{malformed}"
            );
        }
        let pasted = format!(" {}{separator}{}\n", &otp[..3], &otp[3..]);
        assert_eq!(guess(&email, &pasted).await.status, 200, "{pasted:?}");
    }
}
