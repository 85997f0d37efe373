//! Malformed input to every operation.

use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::{Server, operation_paths};

#[database_test]
async fn malformed_input_never_causes_an_undocumented_response(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    server.create_post(&ann, "hi", false).await;
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let wrong_types = json!({
        "username": {"a": 1}, "email": [], "password": 1.5, "otp": 123_456, "content": true, "is_private": "2",
        "token": null, "new_password": {}, "current_password": [], "refresh_token": 7, "media": "x",
        "registration_id": 1
    });
    let nul = json!({
        "username": "a\u{0}", "email": "a\u{0}@example.com", "password": "12345678\u{0}", "otp": "\u{0}",
        "content": "\u{0}", "token": "\u{0}", "new_password": "\u{0}12345678", "current_password": "\u{0}",
        "refresh_token": "\u{0}", "registration_id": "\u{0}"
    });
    let json_type = "application/json";
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        (json_type, b"{".to_vec()),
        (json_type, b"null".to_vec()),
        (json_type, deep.into_bytes()),
        (json_type, br#"{"content":"\ud800","username":"\udfff"}"#.to_vec()),
        (json_type, b"{\"content\":\"\xff\xfe\"}".to_vec()),
        (json_type, wrong_types.to_string().into_bytes()),
        (json_type, nul.to_string().into_bytes()),
        (
            "application/x-www-form-urlencoded",
            b"username=%00&password=%ff%fe&content=%00&is_private=%E0%A4%A".to_vec(),
        ),
        ("multipart/form-data", b"--x\r\n\r\n".to_vec()),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--".to_vec(),
        ),
        ("multipart/form-data; boundary=x", b"no part at all".to_vec()),
        ("text/plain", b"hello".to_vec()),
        ("a/b/c;;;", b"hello".to_vec()),
    ];
    let queries =
        ["", "?page=%00&page_size=a&cursor=%ff&user_id=%00&content=%00&to=%00&unread_only=2", "?%=&&=&[]"];
    for (method, path) in operation_paths() {
        for path in
            [path.clone(), path.replace("/1", "/-99999999999999999999999"), path.replace("/1", "/%00%ff")]
        {
            for query in queries {
                let request =
                    server.request(method.clone(), &format!("{path}{query}")).bearer_auth(&ann.access);
                // The session would end with it.
                if path != "/users/logout" {
                    let response = server.send(request).await;
                    assert!(response.status < 500, "{method} {path}{query}: {}", response.text());
                }
            }
        }
        if method == Method::GET || method == Method::DELETE {
            continue;
        }
        for (content_type, body) in &bodies {
            let request = server
                .request(method.clone(), &path)
                .header("content-type", *content_type)
                .body(body.clone());
            if path != "/users/logout" {
                let response = server.send(request.bearer_auth(&ann.access)).await;
                assert!(response.status < 500, "{method} {path} {content_type}: {}", response.text());
            }
        }
    }
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
    let posts = server.get("/posts/", &ann).await.ok();
    assert!(posts["total"].as_i64().unwrap() <= 1, "nasty input stored something: {posts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_never_echo_input() {
    let (server, ann, _db) = Server::start_with_user().await;
    let secret = "Zx9-secret-value";
    for (path, body) in [
        ("/users/register", json!({"username": secret, "email": secret, "password": [secret]})),
        ("/users/verify-otp", json!({"email": secret, "otp": {secret: 1}})),
        ("/posts/", json!({"content": {"x": secret}, "is_private": secret})),
    ] {
        let response = server.post(path, &ann, body).await;
        assert_eq!(response.status, 422);
        assert!(!response.text().contains(secret), "{}", response.text());
    }
}
