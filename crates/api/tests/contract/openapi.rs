//! The OpenAPI document itself.

use serde_json::Value;

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
fn every_operation_has_a_summary_and_one_tag() {
    for (path, item) in api::docs::openapi::document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 10), "{method} {path}");
            assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{method} {path}");
        }
    }
}
