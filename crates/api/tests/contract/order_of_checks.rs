//! Which check comes first.

use reqwest::Method;
use serde_json::json;

use crate::harness::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_json_precedes_authentication_which_precedes_validation() {
    let (server, ann, _db) = Server::start_with_user().await;
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
