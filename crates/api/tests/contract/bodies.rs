//! Sizes, types and encodings of bodies.

use reqwest::{Method, multipart::Form};
use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_bodies_return_413_and_unknown_types_415() {
    let (server, ann, _db) = Server::start_with_user().await;
    let huge = vec![b'a'; 10_000_000];
    for path in ["/users/register", "/posts/", "/posts/1/comment"] {
        let request = server.request(Method::POST, path).bearer_auth(&ann.access);
        let request = request.header("content-type", "application/json").body(huge.clone());
        assert_eq!(server.send(request).await.status, 413, "{path}");
        let request = server.request(Method::POST, path).bearer_auth(&ann.access);
        let response = server.send(request.header("content-type", "application/xml").body("<a/>")).await;
        assert_eq!(response.problem(), (415, "Unsupported Media Type"), "{path}");
    }
    let form =
        server.request(Method::POST, "/posts/1/comment").bearer_auth(&ann.access).form(&[("content", "x")]);
    assert_eq!(server.send(form).await.status, 415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunked_bodies_are_bounded() {
    let (server, ann, _db) = Server::start_with_user().await;
    for content_type in
        ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        let chunks =
            std::iter::once("--x\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\n".to_owned());
        let chunks = chunks.chain((0..40).map(|_| "a".repeat(64 * 1024))).map(Ok::<_, std::io::Error>);
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
        let request = request.header("content-type", content_type).body(body);
        assert_eq!(server.send(request).await.status, 413, "{content_type}");
    }
}

#[database_test]
async fn forms_accept_every_spelling_of_a_boolean(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let post = async |value: &str| {
        let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
        let form = [("content", "x"), ("is_private", value)];
        let by_form = server.send(request.try_clone().unwrap().form(&form)).await;
        let multipart = Form::new().text("content", "x").text("is_private", value.to_owned());
        let by_multipart = server.send(request.multipart(multipart)).await;
        assert_eq!(by_form.status, by_multipart.status, "{value}");
        assert_eq!(by_form.json["is_private"], by_multipart.json["is_private"], "{value}");
        by_form
    };
    for (values, is_private) in [("true TRUE 1 yes Yes on ON", true), ("false False 0 no NO off Off", false)]
    {
        for value in values.split(' ') {
            assert_eq!(post(value).await.ok()["is_private"], is_private, "{value}");
        }
    }
    assert_eq!(post("").await.ok()["is_private"], false);
    for value in ["2", "maybe", "null", "tru", "-1"] {
        let response = post(value).await;
        assert_eq!(response.validation_error(), (422, "bool_parsing"), "{value}");
        assert_eq!(response.json["errors"][0]["loc"], json!(["body", "is_private"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_may_begin_with_a_byte_order_mark_and_is_not_decompressed() {
    let (server, ann, _db) = Server::start_with_user().await;
    let post = |body: &str| {
        let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
        request.header("content-type", "application/json").body(body.to_owned())
    };
    let marked = server.send(post("\u{feff}{\"content\": \"hi\"}")).await;
    assert_eq!(marked.ok()["content"], "hi");
    let compressed = server.send(post("{}").header("content-encoding", "gzip")).await;
    assert_eq!(compressed.problem(), (415, "Compressed bodies are not accepted"));
    assert_eq!(compressed.header("accept-encoding").as_deref(), Some("identity"));
}
