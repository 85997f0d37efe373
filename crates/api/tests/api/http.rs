//! What holds for every route.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::helpers::{Server, User};

/// Every documented operation, with numbers in place of the parameters of its path.
pub(crate) fn operations() -> Vec<(Method, String)> {
    let paths = api::docs::openapi::document()["paths"].as_object().unwrap();
    let methods =
        |item: &Value| item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect::<Vec<_>>();
    paths
        .iter()
        .flat_map(|(path, item)| methods(item).into_iter().map(move |method| (method, path.clone())))
        .map(|(method, path)| {
            let path = ["post_id", "comment_id", "user_id", "notification_id", "session_id"]
                .iter()
                .fold(path, |path, name| path.replace(&format!("{{{name}}}"), "1"));
            let path = path.replace("{code}", "not_found").replace("{key}", "AAAAAAAAAAAAAAAAAAAAAA.png");
            (method.parse().unwrap(), path)
        })
        .collect()
}

#[database_test]
async fn no_input_makes_a_fault_or_an_answer_that_is_not_documented(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    server.new_post(&ann, "hi", false).await;
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let wrong_types = json!({
        "username": {"a": 1}, "email": [], "password": 1.5, "otp": 123_456, "content": true, "is_private": "2",
        "token": null, "new_password": {}, "current_password": [], "refresh_token": 7, "media": "x"
    });
    let nul = json!({
        "username": "a\u{0}", "email": "a\u{0}@example.com", "password": "12345678\u{0}", "otp": "\u{0}",
        "content": "\u{0}", "token": "\u{0}", "new_password": "\u{0}12345678", "current_password": "\u{0}",
        "refresh_token": "\u{0}"
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
    for (method, path) in operations() {
        for path in
            [path.clone(), path.replace("/1", "/-99999999999999999999999"), path.replace("/1", "/%00%ff")]
        {
            for query in queries {
                let request =
                    server.request(method.clone(), &format!("{path}{query}")).bearer_auth(&ann.access);
                // The session would end with it.
                if path != "/users/logout" {
                    let answer = server.send(request).await;
                    assert!(answer.status < 500, "{method} {path}{query}: {}", answer.text());
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
                let answer = server.send(request.bearer_auth(&ann.access)).await;
                assert!(answer.status < 500, "{method} {path} {content_type}: {}", answer.text());
            }
        }
    }
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
    let posts = server.get("/posts/", &ann).await.ok();
    assert!(posts["total"].as_i64().unwrap() <= 1, "nasty input stored something: {posts}");
}

async fn server() -> (Server, User, test_support::TestDatabase) {
    let db = test_support::TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    (server, ann, db)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_json_comes_before_the_caller_and_the_caller_before_the_shape() {
    let (server, ann, _db) = server().await;
    for (method, path) in [
        (Method::POST, "/posts/"),
        (Method::PUT, "/posts/1"),
        (Method::POST, "/posts/1/comment"),
        (Method::POST, "/users/change-password"),
    ] {
        let request = |body: &'static str| {
            server.request(method.clone(), path).header("content-type", "application/json").body(body)
        };
        let broken = server.send(request("{")).await;
        assert_eq!(
            (broken.status, &broken.json["errors"][0]["type"]),
            (422, &json!("json_invalid")),
            "{path}"
        );
        assert_eq!(server.send(request("{\"content\":1}")).await.problem(), (401, "Not authenticated"));
        let shape = server.send(request("{\"content\":1}").bearer_auth(&ann.access)).await;
        assert_eq!(shape.status, 422, "{path}");
    }
    let word = server.request(Method::GET, "/posts/abc");
    assert_eq!(server.send(word).await.status, 401);
    let word = server.get("/posts/abc", &ann).await;
    assert_eq!((word.status, &word.json["errors"][0]["type"]), (422, &json!("int_parsing")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_is_never_echoed() {
    let (server, ann, _db) = server().await;
    let secret = "Zx9-secret-value";
    for (path, body) in [
        ("/users/register", json!({"username": secret, "email": secret, "password": [secret]})),
        ("/users/verify-otp", json!({"email": secret, "otp": {secret: 1}})),
        ("/posts/", json!({"content": {"x": secret}, "is_private": secret})),
    ] {
        let answer = server.post(path, &ann, body).await;
        assert_eq!(answer.status, 422);
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_answer_with_and_without_a_slash_and_other_methods_are_told() {
    let (server, ann, _db) = server().await;
    for (method, path) in operations().into_iter().filter(|(_, path)| path != "/users/logout") {
        let (with, without) =
            (format!("{}/", path.trim_end_matches('/')), path.trim_end_matches('/').to_owned());
        let mut statuses = Vec::new();
        for path in [with, without] {
            statuses.push(
                server.send(server.request(method.clone(), &path).bearer_auth(&ann.access)).await.status,
            );
        }
        assert_eq!(statuses[0], statuses[1], "{method} {path}");
        assert!(![301, 302, 307, 308, 405].contains(&statuses[0]), "{method} {path}");
        let patch = server.send(server.request(Method::PATCH, &path)).await;
        assert_eq!(patch.problem(), (405, "Method Not Allowed"));
        assert!(patch.header("allow").unwrap().contains(method.as_str()), "{method} {path}");
    }
    // A path that is there is no id of another.
    let read_all = server.delete("/notifications/read-all", &ann).await;
    assert_eq!((read_all.status, read_all.header("allow").as_deref()), (405, Some("PUT")));
    assert_eq!(server.get("/nowhere", None).await.problem(), (404, "Not Found"));
    assert_eq!(server.get("/posts/1/2/3", &ann).await.problem(), (404, "Not Found"));
    let head = server.send(server.request(Method::HEAD, "/posts/").bearer_auth(&ann.access)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_may_call_also_when_it_goes_wrong() {
    let (server, _, _db) = server().await;
    let origin = |request: reqwest::RequestBuilder, origin: &str| request.header("origin", origin);
    let allowed = "access-control-allow-origin";
    let ours = "http://localhost:5173";
    for path in ["/users/1/followers", "/nowhere", "/users/me"] {
        let answer = server.send(origin(server.request(Method::GET, path), ours)).await;
        assert_eq!(answer.header(allowed).as_deref(), Some(ours), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials").as_deref(), Some("true"));
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
async fn the_settings_say_which_pages_may_call() {
    let db = test_support::TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("CORS_ORIGINS", "https://app.example, http://[::1]:3000")]).await;
    for (origin, is_listed) in [
        ("https://app.example", true),
        ("http://[::1]:3000", true),
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
            let answer = server.send(request.header("access-control-request-method", "GET")).await;
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed.as_deref(), is_listed.then_some(origin), "{path}");
            if is_listed {
                let vary = answer.header("vary").unwrap_or_default().to_lowercase();
                assert!(vary.contains("origin"), "{path}: {vary}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    let (server, _, _db) = server().await;
    let with = |id: &str| server.request(Method::GET, "/nowhere").header("x-request-id", id);
    let kept = server.send(with("trace-42.a:b")).await;
    assert_eq!(kept.header("x-request-id").as_deref(), Some("trace-42.a:b"));
    for insane in ["", "a b", "<script>", &"x".repeat(200)] {
        assert_ne!(server.send(with(insane)).await.header("x-request-id").as_deref(), Some(insane));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_is_explained() {
    let (server, _, _db) = server().await;
    let problems = server.get("/problems", None).await.ok();
    for problem in problems.as_array().unwrap() {
        let path = format!("/problems/{}", problem["code"].as_str().unwrap());
        let explained = server.get(&path, None).await.ok();
        assert_eq!(explained, *problem);
        assert!(explained["help"].as_str().unwrap().len() > 10);
    }
    assert_eq!(server.get("/problems/no_such_code", None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_the_wrong_size_or_kind_are_refused() {
    let (server, ann, _db) = server().await;
    let huge = vec![b'a'; 10_000_000];
    for path in ["/users/register", "/posts/", "/posts/1/comment"] {
        let request = server.request(Method::POST, path).bearer_auth(&ann.access);
        let request = request.header("content-type", "application/json").body(huge.clone());
        assert_eq!(server.send(request).await.status, 413, "{path}");
        let request = server.request(Method::POST, path).bearer_auth(&ann.access);
        let answer = server.send(request.header("content-type", "application/xml").body("<a/>")).await;
        assert_eq!(answer.problem(), (415, "Unsupported Media Type"), "{path}");
    }
    let form =
        server.request(Method::POST, "/posts/1/comment").bearer_auth(&ann.access).form(&[("content", "x")]);
    assert_eq!(server.send(form).await.status, 415);
}
