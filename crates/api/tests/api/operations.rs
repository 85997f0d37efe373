use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::{helpers::Server, process::Process};

#[database_test]
async fn it_lives_and_is_ready(db: TestDatabase) {
    let server = Server::start(&db).await;
    assert_eq!(server.get("/livez", None).await.ok(), json!({"status": "ok"}));
    assert_eq!(server.get("/readyz", None).await.ok(), json!({"status": "ok"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_about_a_request_is_written_though_nothing_comes_after_it() {
    let mut process = Process::start(&[("RUST_LOG", "info")]).await;
    let ask = async |id: &str| {
        process.send(process.request(Method::GET, "/livez").header("x-request-id", id)).await.ok();
    };
    ask("the-first").await;
    assert!(process.log().contains("the-first"), "{}", process.log());
    ask("the-last").await;
    assert!(process.stop().await);
    assert!(process.log().contains("the-last"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_is_served_whole() {
    let db = test_support::TestDatabase::sqlite().await;
    let server = Server::start(&db).await;
    let greeting = server.get("/", None).await.ok();
    assert_eq!((&greeting["docs"], &greeting["redoc"]), (&json!("/docs"), &json!("/redoc")));
    assert!(greeting["message"].is_string() && greeting["version"].is_string());
    let page = server.send(server.request(Method::GET, "/").header("accept", "text/html")).await;
    assert!(page.text().contains("/docs"));
    for (path, script) in [("/docs", "SwaggerUIBundle("), ("/redoc", "Redoc.init(")] {
        let page = server.get(path, None).await;
        assert!(page.status == 200 && page.text().contains(script), "{path}");
        // Whatever a page loads, it loads from this server.
        assert!(!page.text().contains("<script src=\"http"), "{path}");
    }
    let document = server.get("/openapi.json", None).await.ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(&document, api::docs::openapi::document());
}

/// Calls `found` for every object below `value`.
fn walk(value: &Value, found: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            found(object);
            object.values().for_each(|value| walk(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| walk(value, found)),
        _ => {}
    }
}

#[test]
fn references_in_the_document_resolve_and_examples_fit_their_schemas() {
    let document = api::docs::openapi::document();
    let (mut references, mut examples) = (0, 0);
    walk(document, &mut |object| {
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            references += 1;
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        // The example of a parameter stands beside its schema, that of a property within it.
        let beside = object.get("schema").filter(|_| object.contains_key("in"));
        if let Some((example, schema)) = object.get("example").zip(beside) {
            examples += 1;
            assert!(jsonschema::validator_for(schema).unwrap().is_valid(example), "{example} is no {schema}");
        }
        let is_schema = object.contains_key("type") && !object.contains_key("flows");
        if let Some(example) = object.get("example").filter(|_| is_schema) {
            examples += 1;
            let schema = Value::Object(object.clone());
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            assert!(validator.is_valid(example), "{example} is no {schema}");
        }
    });
    assert!(references > 50 && examples > 50, "{references} references, {examples} examples");
}

#[test]
fn every_operation_is_described_and_has_a_tag() {
    for (path, item) in api::docs::openapi::document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 10), "{method} {path}");
            assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{method} {path}");
        }
    }
}
