//! Headers for browsers and proxies: CORS, security headers, request ids.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::harness::{PASSWORD, Response, Server, operation_paths};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cors_headers_are_on_successes_and_problems() {
    let (server, _, _db) = Server::start_with_user().await;
    let origin = |request: reqwest::RequestBuilder, origin: &str| request.header("origin", origin);
    let allowed = "access-control-allow-origin";
    let ours = "http://localhost:5173";
    for path in ["/users/1/followers", "/nowhere", "/users/me"] {
        let response = server.send(origin(server.request(Method::GET, path), ours)).await;
        assert_eq!(response.header(allowed).as_deref(), Some(ours), "{path}");
        assert_eq!(response.header("access-control-allow-credentials").as_deref(), Some("true"));
        let foreign = server.send(origin(server.request(Method::GET, path), "https://evil.example")).await;
        assert_eq!(foreign.header(allowed), None, "{path}");
    }
    let preflight = origin(server.request(Method::OPTIONS, "/posts/1"), ours)
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "authorization,content-type");
    let preflight = server.send(preflight).await;
    assert_eq!((preflight.status, preflight.header(allowed).as_deref()), (200, Some(ours)));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PUT"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cors_origins_setting_lists_the_allowed_origins() {
    let db = TestDatabase::sqlite().await;
    let list = "https://app.example, http://[::1]:3000, capacitor://localhost, https://*.preview.example";
    let server = Server::start_with(&db, &[("CORS_ORIGINS", list)]).await;
    for (origin, is_listed) in [
        ("https://app.example", true),
        ("http://[::1]:3000", true),
        ("capacitor://localhost", true),
        ("https://pr-7.preview.example", true),
        ("https://preview.example", false),
        ("ionic://localhost", false),
        ("http://localhost:5173", false),
        ("http://app.example", false),
        ("https://app.example.evil.example", false),
        ("https://app.example:444", false),
        ("null", false),
    ] {
        for (method, path) in [
            (Method::GET, "/livez"),
            (Method::POST, "/posts"),
            (Method::PATCH, "/posts"),
            (Method::OPTIONS, "/users/me"),
        ] {
            let request = server.request(method, path).header("origin", origin);
            let response = server.send(request.header("access-control-request-method", "GET")).await;
            let allowed = response.header("access-control-allow-origin");
            assert_eq!(allowed.as_deref(), is_listed.then_some(origin), "{path}");
            if is_listed {
                let vary = response.header("vary").unwrap_or_default().to_lowercase();
                assert!(vary.contains("origin"), "{path}: {vary}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valid_request_id_is_returned_and_an_invalid_one_replaced() {
    let (server, _, _db) = Server::start_with_user().await;
    let with = |id: &str| server.request(Method::GET, "/nowhere").header("x-request-id", id);
    let response = server.send(with("trace-42.a:b")).await;
    assert_eq!(response.header("x-request-id").as_deref(), Some("trace-42.a:b"));
    for invalid in ["", "a b", "<script>", &"x".repeat(200)] {
        assert_ne!(server.send(with(invalid)).await.header("x-request-id").as_deref(), Some(invalid));
    }
}

const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

fn is_protected(response: &Response, context: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(response.header(name).as_deref(), Some(value), "{context}");
    }
    let policy =
        response.header("content-security-policy").unwrap_or_else(|| panic!("{context} has no policy"));
    assert!(policy.contains("default-src 'none'"), "{context}: {policy}");
    assert!(response.header("cross-origin-resource-policy").is_some(), "{context}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_has_security_headers() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let mut requests: Vec<(Method, String)> = operation_paths();
    for path in ["/", "/docs", "/redoc", "/openapi.json", "/asyncapi.json", "/no/such/path", "/dev/inbox"] {
        requests.push((Method::GET, path.into()));
    }
    requests.push((Method::PATCH, "/posts".into()));
    for (method, path) in requests {
        let response = server.send(server.request(method.clone(), &path)).await;
        is_protected(&response, &format!("{method} {path}"));
        let is_json = response.json != Value::Null;
        assert!(!is_json || response.header("content-security-policy").as_deref() == Some(NOTHING), "{path}");
        assert_eq!(response.header("strict-transport-security"), None);
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
async fn pages_allow_only_their_own_scripts() {
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
async fn https_public_url_enables_hsts() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("PUBLIC_URL", "https://social.example.com")]).await;
    let response = server.get("/livez", None).await;
    assert_eq!(response.header("strict-transport-security").as_deref(), Some("max-age=31536000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_with_tokens_and_personal_data_are_not_stored() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let no_store = |response: &Response, context: &str| {
        assert_eq!(response.status, 200, "{context}");
        assert_eq!(response.header("cache-control").as_deref(), Some("no-store"), "{context}");
    };
    server.register("ann", "ann@example.com").await.ok();
    let body = json!({"email": "ann@example.com", "otp": server.otp("ann@example.com").await});
    let verified = server.post("/users/verify-otp", None, body).await;
    no_store(&verified, "verify-otp");
    let ann = server.user_with_tokens("ann", "ann@example.com", &verified.json).await;
    no_store(&server.login("ann", PASSWORD).await, "login");
    for path in ["/users/me", "/users/me/sessions"] {
        no_store(&server.get(path, &ann).await, path);
    }
    let refreshed = server.get("/users/refresh", &ann.with_token(&ann.refresh)).await;
    no_store(&refreshed, "GET refresh");
    let body = json!({"refresh_token": refreshed.json["refresh_token"]});
    no_store(&server.post("/users/refresh", None, body).await, "POST refresh");
}
