//! The OpenAPI document itself.

use std::collections::HashSet;

use api::docs::openapi;
use api_types::PROBLEM_KINDS;
use serde_json::Value;

use crate::harness::operations;

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
fn references_resolve_and_examples_match_their_schemas() {
    let document = openapi::document();
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

/// What linters and generators need: they refuse the document otherwise, or guess.
#[test]
fn operations_are_described_completely() {
    let document = openapi::document();
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = HashSet::new();
    for (method, path, operation) in operations() {
        let at = format!("{method} {path}");
        let summary = operation["summary"].as_str().unwrap();
        assert!(summary.len() > 10 && !summary.contains('\n'), "{at}: {summary}");
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{at}: {id} twice");
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric()) && id.starts_with(char::is_lowercase), "{id}");
        assert!(
            operation["tags"].as_array().is_some_and(|own| own.len() == 1 && tags.contains(&&own[0])),
            "{at}"
        );
        assert!(operation["security"].is_array(), "{at}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(
                parameter["description"].as_str().is_some_and(|text| text.len() > 5),
                "{at}: {parameter}"
            );
        }
        if let Some(content) = operation.pointer("/requestBody/content") {
            assert_eq!(content.as_object().unwrap().len(), 1, "{at} has one documented content type");
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{at}");
        assert!(responses.keys().any(|status| status.starts_with('4') || status == "503"), "{at}");
        for (status, response) in responses {
            let reference = response["$ref"].as_str().map(|text| text.trim_start_matches('#'));
            let response = reference.map_or(response, |pointer| document.pointer(pointer).unwrap());
            assert!(response["description"].as_str().is_some_and(|text| text.len() > 5), "{at} {status}");
            assert!(response["headers"]["X-Request-Id"].is_object(), "{at} {status}");
            assert_eq!(response["headers"]["Retry-After"].is_object(), ["429", "503"].contains(&&**status));
            let is_problem = response["content"]["application/problem+json"].is_object();
            assert_eq!(is_problem, status.as_str() >= "400", "{at} {status}");
        }
    }
    assert!(ids.len() >= 40);
}

/// Generated types would otherwise have to check for keys that are always there.
#[test]
fn keys_of_responses_are_required_unless_documented_as_optional() {
    let optional = [
        ("NotificationsResponse", "truncated"),
        ("Problem", "errors"),
        ("VerifyResponse", "password_reset_required"),
    ];
    let schemas = openapi::document()["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        if name.ends_with("Request") || name.ends_with("Form") {
            continue;
        }
        let parts = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
        for part in parts {
            let required = part["required"].as_array().cloned().unwrap_or_default();
            for key in part["properties"].as_object().into_iter().flat_map(|properties| properties.keys()) {
                let is_optional = optional.contains(&(name.as_str(), key.as_str()));
                assert_eq!(required.contains(&key.as_str().into()), !is_optional, "{name}.{key}");
            }
        }
    }
}

#[test]
fn every_problem_code_is_in_the_enumeration() {
    let codes = openapi::document().pointer("/components/schemas/ProblemCode/enum").unwrap();
    let codes: HashSet<_> = codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(codes, PROBLEM_KINDS.iter().map(|kind| kind.code).collect());
}
