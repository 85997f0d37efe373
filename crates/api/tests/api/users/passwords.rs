//! `/users/change-password`, `/users/forgot-password` and `/users/reset-password`.

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{PASSWORD, Server};

const BAD_LOGIN: (u16, &str) = (400, "Incorrect username or password");

const BAD_TOKEN: (u16, &str) = (401, "Invalid token");

#[database_test]
async fn change_password_ends_all_other_sessions(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let other = server.user_with_tokens("ann", &ann.email, &server.login("ann", PASSWORD).await.ok()).await;
    let change = |current: &str| json!({"current_password": current, "new_password": "battery staple"});
    let wrong = server.post("/users/change-password", &ann, change("wrong password")).await;
    assert_eq!(wrong.problem(), (400, "Incorrect Password"));
    let done = server.post("/users/change-password", &ann, change(PASSWORD)).await.ok();
    assert_eq!(done, json!({"success": true, "message": "Password Changed Successfully"}));
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
    assert_eq!(server.get("/users/me", &other).await.problem(), BAD_TOKEN);
    assert_eq!(server.get("/users/refresh", &other.with_token(&other.refresh)).await.problem(), BAD_TOKEN);
    assert_eq!(server.login("ann", PASSWORD).await.problem(), BAD_LOGIN);
    assert_eq!(server.login("ann", "battery staple").await.status, 200);
}

#[database_test]
async fn only_the_newest_reset_link_works_and_only_once(db: TestDatabase) {
    let server = Server::start_with(&db, &[("FRONTEND_URL", "https://app.example.com/")]).await;
    let ann = server.create_user("ann").await;
    let sent = json!({"success": true, "message": "Password reset link sent to your email"});
    let forgot = |email: &str| server.post("/users/forgot-password", None, json!({"email": email}));
    assert_eq!(forgot("nobody@example.com").await.ok(), sent);
    assert_eq!(forgot(&ann.email).await.ok(), sent);
    let first = server.mail(&ann.email, "Reset Your Password", |_| true).await;
    assert_eq!(forgot(&ann.email).await.ok(), sent);
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
    assert_eq!(server.get("/users/me", &ann.with_token(&token(&second))).await.problem(), BAD_TOKEN);
    // As it may be pasted.
    assert_eq!(
        reset(&format!(" \u{200b}{}\n", token(&second))).await.ok(),
        json!({"success": true, "message": "Password reset successfully"})
    );
    assert_eq!(reset(&token(&second)).await.problem(), (400, "Invalid or expired reset token"));
    assert_eq!(server.get("/users/me", &ann).await.problem(), BAD_TOKEN);
    assert_eq!(server.login("ann", "battery staple").await.status, 200);
}

#[database_test]
async fn password_in_another_unicode_form_is_the_same(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (composed, decomposed) = ("gr\u{fc}\u{df}e an alle", "gru\u{308}\u{df}e an alle");
    let body = json!({"username": "ann", "email": "ann@example.com", "password": composed});
    server.post("/users/register", None, body).await.ok();
    // The same password, so the registrations do not compete.
    let body = json!({"username": "ann", "email": "ann@example.com", "password": decomposed});
    let first = server.otp("ann@example.com").await;
    server.post("/users/register", None, body).await.ok();
    let otp = server.new_otp("ann@example.com", &first).await;
    let body = json!({"email": "ann@example.com", "otp": otp});
    let pair = server.post("/users/verify-otp", None, body).await.ok();
    assert_eq!(pair.get("password_reset_required"), None);
    let ann = server.user_with_tokens("ann", "ann@example.com", &pair).await;
    for password in [composed, decomposed] {
        assert_eq!(server.login("ann", password).await.status, 200);
        let change = json!({"current_password": password, "new_password": decomposed});
        server.post("/users/change-password", &ann, change).await.ok();
    }
    assert_eq!(server.login("ann", "gru\u{df}e an alle").await.problem(), BAD_LOGIN);
}
