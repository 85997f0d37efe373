//! The order of checks on every route with a body: malformed body, authentication, values, business rules.

use std::time::Duration;

use futures_util::stream;
use reqwest::Body;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::harness::{BodyOperation, Response, Server, User, operations_with_body};

fn routes() -> Vec<BodyOperation> {
    operations_with_body().collect()
}

const JSON: &str = "application/json";

async fn send(server: &Server, route: &BodyOperation, user: Option<&User>, body: (&str, Body)) -> Response {
    let (content_type, body) = body;
    let mut request = server.request(route.method.clone(), &route.path);
    request = request.header("content-type", content_type).body(body);
    if let Some(user) = user {
        request = request.bearer_auth(&user.access);
    }
    server.send(request).await
}

/// A body in two parts, the second of which arrives later: long after the token could have been checked.
fn delayed(first: &'static str, second: &'static str) -> Body {
    let parts = stream::unfold(0, move |part| async move {
        match part {
            0 => Some((Ok::<_, std::io::Error>(first), 1)),
            1 => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Some((Ok(second), 2))
            }
            _ => None,
        }
    });
    Body::wrap_stream(parts)
}

fn kinds(response: &Response) -> Vec<&str> {
    let errors = response.json["errors"].as_array().into_iter().flatten();
    errors.filter_map(|error| error["type"].as_str()).collect()
}

#[test]
fn all_routes_with_a_body_are_covered() {
    let paths: Vec<_> =
        routes().into_iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    let expected = [
        "POST /posts/",
        "PUT /posts/1",
        "POST /posts/1/comment",
        "PUT /posts/1/comment/1",
        "POST /users/change-password",
        "POST /users/forgot-password",
        "POST /users/login",
        "POST /users/refresh",
        "POST /users/register",
        "POST /users/reset-password",
        "POST /users/verify-otp",
    ];
    for path in expected {
        assert!(paths.iter().any(|known| known == path), "{path} is not among {paths:?}");
    }
}

#[database_test]
async fn malformed_json_is_reported_before_a_missing_token(db: TestDatabase) {
    let server = Server::start(&db).await;
    for route in &routes() {
        for body in [Body::from("{"), delayed("{\"content\":", "}")] {
            let response = send(&server, route, None, (JSON, body)).await;
            assert_eq!(response.status, 422, "{} {}", route.method, route.path);
            assert_eq!(kinds(&response), ["json_invalid"], "{} {}", route.method, route.path);
        }
    }
}

#[database_test]
async fn missing_token_is_reported_before_invalid_values(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    server.post("/users/logout", &ann, Value::Null).await.ok();
    for route in routes().iter().filter(|route| route.requires_token) {
        // The id is invalid too.
        let route =
            BodyOperation { method: route.method.clone(), path: route.path.replace("/1", "/x"), ..*route };
        for body in ["[]", "{\"content\": 1, \"new_password\": 1, \"is_private\": []}"] {
            let response = send(&server, &route, None, (JSON, body.into())).await;
            assert_eq!(response.problem(), (401, "Not authenticated"), "{} {}", route.method, route.path);
            let response = send(&server, &route, Some(&ann), (JSON, body.into())).await;
            assert_eq!(response.problem(), (401, "Invalid token"), "{} {}", route.method, route.path);
        }
    }
}

#[database_test]
async fn multipart_body_is_not_received_without_a_token(db: TestDatabase) {
    let server = Server::start(&db).await;
    for route in routes().iter().filter(|route| route.requires_token && route.is_multipart) {
        let malformed = ("multipart/form-data; boundary=x", Body::from("no part at all"));
        let response = send(&server, route, None, malformed).await;
        assert_eq!(response.problem(), (401, "Not authenticated"), "{} {}", route.method, route.path);
    }
}

#[database_test]
async fn invalid_values_are_reported_before_business_rules(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    for route in &routes() {
        // Neither the post 1 nor the comment 1 exists.
        let invalid = json!({
            "username": 1, "email": 1, "password": 1, "otp": 1, "content": 1, "token": 1, "new_password": 1,
            "current_password": 1, "refresh_token": 1
        });
        let response = send(&server, route, Some(&ann), (JSON, invalid.to_string().into())).await;
        assert_eq!(response.status, 422, "{} {}", route.method, route.path);
        assert!(kinds(&response).iter().all(|kind| *kind == "string_type"), "{}", response.text());
        if !route.path.contains("/1") {
            continue;
        }
        let valid = (JSON, Body::from("{\"content\": \"hello\"}"));
        assert_eq!(
            send(&server, route, Some(&ann), valid).await.status,
            404,
            "{} {}",
            route.method,
            route.path
        );
        let not_an_id =
            BodyOperation { method: route.method.clone(), path: route.path.replace("/1", "/x"), ..*route };
        let valid = (JSON, Body::from("{\"content\": \"hello\"}"));
        let response = send(&server, &not_an_id, Some(&ann), valid).await;
        assert_eq!((response.status, kinds(&response)), (422, vec!["int_parsing"]), "{}", not_an_id.path);
    }
}

#[database_test]
async fn missing_token_is_reported_before_an_invalid_id_without_a_body(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    assert_eq!(server.get("/posts/abc", None).await.problem(), (401, "Not authenticated"));
    let response = server.get("/posts/abc", &ann).await;
    assert_eq!((response.status, kinds(&response)), (422, vec!["int_parsing"]));
}
