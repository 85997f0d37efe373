//! `POST /users/verify-otp`.

use futures_util::future::join_all;
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
    assert_eq!(server.user_with_tokens("victim", email, &pair).await.name, "victim");
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
