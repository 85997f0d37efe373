//! Holds answers against the OpenAPI document.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use api::docs::openapi;
use serde_json::{Value, json};

use crate::helpers::Answer;

/// The document's path and operation for a request.
pub(crate) fn operation(method: &str, path: &str) -> Option<(String, &'static Value)> {
    let paths = openapi::document()["paths"].as_object().unwrap();
    let segments = |path: &str| path.trim_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
    let asked = segments(path);
    let fits = |template: &str| {
        let parts = segments(template);
        let is_same = |(part, asked): (&String, &String)| part.starts_with('{') || part == asked;
        parts.len() == asked.len() && parts.iter().zip(&asked).all(is_same)
    };
    let mut found: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
    found.sort_by_key(|(template, _)| template.matches('{').count());
    let method = method.to_lowercase();
    // A path without a parameter is no value of one.
    let (template, item) = found.first()?;
    item.get(&method).map(|operation| ((*template).clone(), operation))
}

/// # Panics
/// If the answer is not one that the document promises.
pub(crate) fn check(method: &str, path: &str, answer: &Answer) {
    let content_type = answer.header("content-type").unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default();
    if answer.status >= 400 {
        assert_eq!(content_type, "application/problem+json", "{method} {path}: {}", answer.text());
        assert!(!answer.json["request_id"].as_str().unwrap().is_empty());
        assert_eq!(answer.json["request_id"].as_str(), answer.header("x-request-id").as_deref());
        assert_eq!(answer.json["status"], answer.status);
        assert_eq!(answer.json["type"], format!("/problems/{}", answer.json["code"].as_str().unwrap()));
        validate("#/components/schemas/Problem", &answer.json);
    }
    let Some((template, operation)) = operation(method, path) else {
        let is_page = ["/", "/docs", "/redoc", "/openapi.json", "/asyncapi.json"].contains(&path);
        assert!(is_page || [404, 405].contains(&answer.status), "{method} {path} is not documented");
        return;
    };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(
        response.is_object(),
        "{method} {template} does not promise {}: {}",
        answer.status,
        answer.text()
    );
    let Some(content) = response["content"].as_object() else { return };
    let media = content.get(content_type).or_else(|| content.get("application/octet-stream"));
    let media = media.unwrap_or_else(|| panic!("{method} {template} does not promise {content_type}"));
    if content_type.ends_with("json") && media["schema"].is_object() {
        let pointer = |text: &str| text.replace('~', "~0").replace('/', "~1");
        let place = format!(
            "#/paths/{}/{}/responses/{}/content/{}/schema",
            pointer(&template),
            method.to_lowercase(),
            answer.status,
            pointer(content_type)
        );
        validate(&place, &answer.json);
    }
}

/// # Panics
/// If the value does not fit the schema at this place of the document.
pub(crate) fn validate(place: &str, value: &Value) {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, &'static jsonschema::Validator>>> =
        LazyLock::new(Mutex::default);
    let known = VALIDATORS.lock().unwrap().get(place).copied();
    let validator = known.unwrap_or_else(|| {
        let mut schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema"});
        for (key, part) in openapi::document().as_object().unwrap() {
            schema[key] = part.clone();
        }
        // The reference goes through `{` in templates, which a URI must escape.
        schema["$ref"] = place.replace('{', "%7B").replace('}', "%7D").into();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let validator: &'static _ = Box::leak(Box::new(validator));
        VALIDATORS.lock().unwrap().insert(place.to_owned(), validator);
        validator
    });
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{place}: {errors:?} in {value}");
}
