//! Checks responses against the OpenAPI document, and lists its operations.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use api::docs::openapi;
use reqwest::Method;
use serde_json::{Value, json};

use super::Response;

/// Every documented operation: method, path template and definition.
pub(crate) fn operations() -> impl Iterator<Item = (Method, &'static str, &'static Value)> {
    openapi::document()["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations
            .map(|(method, operation)| (method.to_uppercase().parse().unwrap(), path.as_str(), operation))
    })
}

/// Every documented operation with values in place of its path parameters.
pub(crate) fn operation_paths() -> Vec<(Method, String)> {
    operations().map(|(method, template, _)| (method, with_parameters(template))).collect()
}

/// Operations that only verified users may call, with values in place of their path parameters.
pub(crate) fn closed_operations() -> Vec<(Method, String)> {
    let closed = operations().filter(|(_, _, operation)| requires_access_token(operation));
    closed.map(|(method, template, _)| (method, with_parameters(template))).collect()
}

/// A documented operation with a body.
pub(crate) struct BodyOperation {
    pub(crate) method: Method,
    /// The path, with values in place of its parameters.
    pub(crate) path: String,
    pub(crate) requires_token: bool,
    pub(crate) is_multipart: bool,
}

pub(crate) fn operations_with_body() -> impl Iterator<Item = BodyOperation> {
    operations().filter_map(|(method, template, operation)| {
        let content = operation["requestBody"]["content"].as_object()?;
        Some(BodyOperation {
            method,
            path: with_parameters(template),
            requires_token: requires_access_token(operation),
            is_multipart: content.contains_key("multipart/form-data"),
        })
    })
}

fn requires_access_token(operation: &Value) -> bool {
    let security = operation["security"].as_array().cloned().unwrap_or_default();
    security.iter().any(|scheme| scheme.get("access").is_some()) && !security.contains(&json!({}))
}

fn with_parameters(template: &str) -> String {
    let path = ["post_id", "comment_id", "user_id", "notification_id", "session_id"]
        .iter()
        .fold(template.to_owned(), |path, name| path.replace(&format!("{{{name}}}"), "1"));
    path.replace("{code}", "not_found").replace("{key}", "AAAAAAAAAAAAAAAAAAAAAA.png")
}

/// Finds the path template and the operation of a request.
fn find_operation(method: &str, path: &str) -> Option<(&'static String, &'static Value)> {
    let segments = |path: &str| path.trim_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
    let requested = segments(path);
    let matches = |template: &str| {
        let parts = segments(template);
        let is_equal = |(part, segment): (&String, &String)| part.starts_with('{') || part == segment;
        parts.len() == requested.len() && parts.iter().zip(&requested).all(is_equal)
    };
    let paths = openapi::document()["paths"].as_object().unwrap();
    let found = paths.iter().filter(|(template, _)| matches(template));
    // A literal segment takes precedence over a parameter.
    let (template, item) = found.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.to_lowercase()).map(|operation| (template, operation))
}

/// Checks a response against the document.
///
/// # Panics
/// If the document does not promise the response.
pub(crate) fn check(method: &str, path: &str, response: &Response) {
    let content_type = response.header("content-type").unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default();
    if response.status >= 400 {
        assert_eq!(content_type, "application/problem+json", "{method} {path}: {}", response.text());
        assert!(!response.json["request_id"].as_str().unwrap().is_empty());
        assert_eq!(response.json["request_id"].as_str(), response.header("x-request-id").as_deref());
        assert_eq!(response.json["status"], response.status);
        assert_eq!(response.json["type"], format!("/problems/{}", response.json["code"].as_str().unwrap()));
        validate("#/components/schemas/Problem", &response.json);
    }
    let Some((template, operation)) = find_operation(method, path) else {
        let is_page = ["/", "/docs", "/redoc", "/openapi.json", "/asyncapi.json"].contains(&path);
        assert!(is_page || [404, 405].contains(&response.status), "{method} {path} is not documented");
        return;
    };
    let escape = |text: &str| text.replace('~', "~0").replace('/', "~1");
    let promised = &operation["responses"][response.status.to_string()];
    let pointer = promised["$ref"].as_str().map_or_else(
        || {
            let (template, method) = (escape(template), method.to_lowercase());
            format!("#/paths/{template}/{method}/responses/{}", response.status)
        },
        str::to_owned,
    );
    let documented = openapi::document().pointer(&pointer[1..]).unwrap_or(promised);
    let (status, text) = (response.status, response.text());
    assert!(documented.is_object(), "{method} {template} does not promise {status}: {text}");
    let Some(content) = documented["content"].as_object() else { return };
    let media = content.get(content_type).or_else(|| content.get("application/octet-stream"));
    let media = media.unwrap_or_else(|| panic!("{method} {template} does not promise {content_type}"));
    if content_type.ends_with("json") && media["schema"].is_object() {
        let pointer = format!("{pointer}/content/{}/schema", escape(content_type));
        validate(&pointer, &response.json);
    }
}

/// Checks a value against the schema at this place of the document.
fn validate(pointer: &str, value: &Value) {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, &'static jsonschema::Validator>>> =
        LazyLock::new(Mutex::default);
    let known = VALIDATORS.lock().unwrap().get(pointer).copied();
    let validator = known.unwrap_or_else(|| {
        let mut schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema"});
        for (key, part) in openapi::document().as_object().unwrap() {
            schema[key] = part.clone();
        }
        // Path templates contain braces, which a URI must escape.
        schema["$ref"] = pointer.replace('{', "%7B").replace('}', "%7D").into();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let validator: &'static _ = Box::leak(Box::new(validator));
        VALIDATORS.lock().unwrap().insert(pointer.to_owned(), validator);
        validator
    });
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{pointer}: {errors:?} in {value}");
}
