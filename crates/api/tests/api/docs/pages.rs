//! Documentation pages and problem descriptions.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::harness::{Server, run_command};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documentation_pages_load_nothing_from_other_hosts() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let greeting = server.get("/", None).await.ok();
    assert_eq!((&greeting["docs"], &greeting["redoc"]), (&json!("/docs"), &json!("/redoc")));
    assert!(greeting["message"].is_string() && greeting["version"].is_string());
    let page = server.send(server.request(Method::GET, "/").header("accept", "text/html")).await;
    assert!(page.text().contains("/docs"));
    for (path, script) in [("/docs", "SwaggerUIBundle("), ("/redoc", "Redoc.init(")] {
        let page = server.get(path, None).await;
        assert!(page.status == 200 && page.text().contains(script), "{path}");
        // Pages load scripts from this server only.
        assert!(!page.text().contains("<script src=\"http"), "{path}");
    }
    let document = server.get("/openapi.json", None).await.ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(&document, api::docs::openapi::document());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_code_has_a_help_text() {
    let (server, _, _db) = Server::start_with_user().await;
    let problems = server.get("/problems", None).await.ok();
    for problem in problems.as_array().unwrap() {
        let path = format!("/problems/{}", problem["code"].as_str().unwrap());
        let explained = server.get(&path, None).await.ok();
        assert_eq!(explained, *problem);
        assert!(explained["help"].as_str().unwrap().len() > 10);
    }
    assert_eq!(server.get("/problems/no_such_code", None).await.status, 404);
}

#[test]
fn openapi_command_needs_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, text) = run_command(folder.path(), &[("PATH", "/nowhere")], &["openapi"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert!(ok && document["openapi"].as_str().unwrap().starts_with("3.1"));
}
