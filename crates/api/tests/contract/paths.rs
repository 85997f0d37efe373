//! Paths, methods and ids in paths.

use reqwest::Method;
use test_support::{TestDatabase, database_test};

use crate::harness::{Response, Server, User, operation_paths};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailing_slashes_are_ignored_and_wrong_methods_return_405() {
    let (server, ann, _db) = Server::start_with_user().await;
    for (method, path) in operation_paths().into_iter().filter(|(_, path)| path != "/users/logout") {
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
    // `read-all` is a path and not an id.
    let read_all = server.delete("/notifications/read-all", &ann).await;
    assert_eq!((read_all.status, read_all.header("allow").as_deref()), (405, Some("PUT")));
    assert_eq!(server.get("/nowhere", None).await.problem(), (404, "Not Found"));
    assert_eq!(server.get("/posts/1/2/3", &ann).await.problem(), (404, "Not Found"));
    let head = server.send(server.request(Method::HEAD, "/posts/").bearer_auth(&ann.access)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[database_test]
async fn out_of_range_ids_return_404_and_malformed_ids_422(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let post = server.create_post(&ann, "hi", false).await;
    let routes = [
        (Method::GET, "/posts/{}", "Post not found"),
        (Method::DELETE, "/posts/{}", "Post not found"),
        (Method::POST, "/posts/{}/like", "Post not found"),
        (Method::DELETE, "/posts/{}/like", "Post not found"),
        (Method::GET, "/posts/{}/comment", "Post not found"),
        (Method::DELETE, "/posts/{}/comment/1", "Post not found"),
        (Method::DELETE, &format!("/posts/{post}/comment/{{}}"), "Comment not found"),
        (Method::POST, "/users/{}/follow", "User not found"),
        (Method::DELETE, "/users/{}/unfollow", "User not found"),
        (Method::GET, "/users/{}/followers", "User not found"),
        (Method::GET, "/users/{}/following", "User not found"),
        (Method::PUT, "/notifications/{}/read", "Notification not found"),
        (Method::DELETE, "/notifications/{}", "Notification not found"),
    ];
    let send = async |method: &Method, path: &str, id: &str, user: &User| -> Response {
        server.send(server.request(method.clone(), &path.replace("{}", id)).bearer_auth(&user.access)).await
    };
    for (method, path, detail) in &routes {
        let nine = "9".repeat(40);
        for id in [
            "0",
            "-1",
            "9007199254740992",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775809",
            &nine,
        ] {
            assert_eq!(send(method, path, id, &ann).await.problem(), (404, *detail), "{method} {path} {id}");
        }
        for id in ["x", "1.0", "1e3", "0x1", "%00", "%FF", "1%00", "%EF%BC%91", "null", "1;drop", "--1", "me"]
        {
            let response = send(method, path, id, &ann).await;
            assert_eq!(response.validation_error(), (422, "int_parsing"), "{method} {path} {id}");
            assert_eq!(response.json["errors"][0]["loc"][0], "path");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_returns_the_headers_of_get_without_a_body() {
    let (server, ann, _db) = Server::start_with_user().await;
    let post = server.create_post(&ann, "hi", false).await;
    let paths = [
        "/",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/livez",
        "/readyz",
        "/problems",
        "/posts",
        "/users/me",
        "/nowhere",
    ];
    for path in paths
        .map(str::to_owned)
        .into_iter()
        .chain([format!("/posts/{post}"), format!("/posts/{post}/comment")])
    {
        let get = server.get(&path, &ann).await;
        let head = server.send(server.request(Method::HEAD, &path).bearer_auth(&ann.access)).await;
        assert!(head.body.is_empty(), "{path}");
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-type", "content-length", "link", "x-content-type-options"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_without_an_origin_lists_the_methods() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    for (path, methods) in [("/", "GET, HEAD, OPTIONS"), ("/posts/1/like", "POST, DELETE, OPTIONS")] {
        let response = server.send(server.request(Method::OPTIONS, path)).await;
        assert_eq!((response.status, response.header("allow").as_deref()), (204, Some(methods)), "{path}");
    }
    assert_eq!(server.send(server.request(Method::OPTIONS, "/nowhere")).await.status, 404);
}
