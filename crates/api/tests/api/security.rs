//! What browsers are told, by every answer.

use reqwest::Method;
use serde_json::Value;
use test_support::TestDatabase;

use crate::{
    helpers::{Answer, Server},
    http::operations,
};

const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

fn is_protected(answer: &Answer, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.header(name).as_deref(), Some(value), "{what}");
    }
    let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{what} has no policy"));
    assert!(policy.contains("default-src 'none'"), "{what}: {policy}");
    assert!(answer.header("cross-origin-resource-policy").is_some(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_says_what_browsers_must_not_do() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let mut asked: Vec<(Method, String)> = operations();
    for path in ["/", "/docs", "/redoc", "/openapi.json", "/asyncapi.json", "/no/such/path", "/dev/inbox"] {
        asked.push((Method::GET, path.into()));
    }
    asked.push((Method::PATCH, "/posts".into()));
    for (method, path) in asked {
        let answer = server.send(server.request(method.clone(), &path)).await;
        is_protected(&answer, &format!("{method} {path}"));
        let is_json = answer.json != Value::Null;
        assert!(!is_json || answer.header("content-security-policy").as_deref() == Some(NOTHING), "{path}");
        assert_eq!(answer.header("strict-transport-security"), None);
    }
    let huge = server.request(Method::POST, "/users/login").body("x".repeat(3 << 20));
    is_protected(&server.send(huge).await, "a body that is too large");
    let preflight = server.request(Method::OPTIONS, "/posts/").header("origin", "http://localhost:5173");
    let preflight = preflight.header("access-control-request-method", "POST");
    is_protected(&server.send(preflight).await, "a preflight");
    let polling = reqwest::get(format!("{}/socket.io/?EIO=4&transport=polling", server.url)).await.unwrap();
    assert_eq!(polling.headers()["x-frame-options"], "DENY");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_run_their_own_scripts_and_no_others() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    for (path, scripts) in [("/docs", true), ("/redoc", true), ("/", false), ("/dev/inbox", false)] {
        let page = server.send(server.request(Method::GET, path).header("accept", "text/html")).await;
        let policy = page.header("content-security-policy").unwrap();
        assert_eq!(policy.contains("script-src 'sha256-"), scripts, "{policy}");
        let script = policy.split(';').find(|part| part.trim().starts_with("script-src")).unwrap();
        assert!(!script.contains("unsafe") && !script.contains("self"), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_reached_by_https_alone_says_so() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("PUBLIC_URL", "https://social.example.com")]).await;
    let answer = server.get("/livez", None).await;
    assert_eq!(answer.header("strict-transport-security").as_deref(), Some("max-age=31536000"));
}
