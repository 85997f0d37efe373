//! The OpenAPI document: collected from the handlers, completed with what applies to all of them.

use std::sync::LazyLock;

use actix_web::App;
use api_types::ProblemKind;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_actix_web::AppExt as _;

use crate::{error::Problem, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Social API",
        description = "The backend of a social network: accounts, posts with media, likes, comments, follows and \
            notifications.\n\nEvery error response is a problem object (RFC 9457). `GET /problems/{code}` explains its \
            `code`. A trailing slash in a path is optional.",
        license(name = "MIT", identifier = "MIT")
    ),
    components(schemas(Problem, ProblemKind)),
    tags(
        (name = "users", description = "Accounts and sessions"),
        (name = "posts", description = "Posts and likes"),
        (name = "comments", description = "Comments on posts"),
        (name = "follows", description = "Follows between users"),
        (name = "notifications", description = "Notifications of the caller"),
        (name = "media", description = "Files of posts"),
        (name = "problems", description = "Explanations of errors"),
        (name = "operations", description = "Health checks"),
        (name = "development", description = "Development inbox: mail of a server without SMTP")
    )
)]
struct Base;

/// Returns the document, which is built once.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let (_, collected) = App::new()
            .into_utoipa_app()
            .openapi(Base::openapi())
            .configure(routes::configure)
            .split_for_parts();
        let mut document = serde_json::to_value(collected).unwrap_or_default();
        document["components"]["securitySchemes"] = json!({
            "access": {
                "type": "oauth2",
                "description": "An access token. Log in with a username or an email address.",
                "flows": {"password": {"tokenUrl": "/users/login", "refreshUrl": "/users/refresh", "scopes": {}}}
            },
            "refresh": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A refresh token."}
        });
        for (path, operation) in operations(&mut document) {
            complete(path, operation);
        }
        document
    });
    &DOCUMENT
}

fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::iter_mut);
    let items = paths.filter_map(|(path, item)| Some((path.as_str(), item.as_object_mut()?)));
    items.flat_map(|(path, item)| {
        item.iter_mut()
            .filter(|(method, _)| matches!(method.as_str(), "get" | "post" | "put" | "delete"))
            .map(move |(_, operation)| (path, operation))
    })
}

/// Adds the error responses that follow from the kind of operation, and the schema of all error responses.
fn complete(path: &str, operation: &mut Value) {
    let has = |key: &str| operation.get(key).is_some();
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let has_parameter_in = |location: &str| parameters.iter().any(|parameter| parameter["in"] == location);
    let security = operation["security"].as_array().cloned().unwrap_or_default();
    let requires = |scheme: &str| security.iter().any(|requirement| requirement.get(scheme).is_some());
    let is_optional = security.iter().any(|requirement| requirement.as_object().is_some_and(Map::is_empty));

    let mut problems = vec![
        ("500", "`internal_error`: an error in the server"),
        ("503", "`unavailable`: a service that the server depends on does not respond"),
    ];
    if !["/livez", "/readyz"].contains(&path) {
        problems.push(("429", "`rate_limited`: retry after `Retry-After` seconds"));
    }
    if requires("access") && !is_optional {
        problems.push(("401", "`not_authenticated` or `invalid_token`"));
        problems.push(("403", "`not_verified` or `inactive_user`; `not_post_owner` for posts of others"));
    }
    if requires("refresh") {
        problems.push(("401", "`not_authenticated` or `invalid_token`"));
    }
    if has_parameter_in("path") {
        problems.push(("404", "The resource does not exist, or the caller may not see it"));
    }
    if has_parameter_in("path") || has_parameter_in("query") || has("requestBody") {
        problems.push(("422", "`validation_error`: `errors` lists every error"));
    }
    if parameters.iter().any(|parameter| parameter["name"] == "cursor") {
        problems.push(("400", "`invalid_cursor` or `page_too_deep`"));
    }
    if has("requestBody") {
        problems.push(("400", "`bad_request`: the body is malformed"));
        problems.push(("408", "`request_timeout`: the body did not arrive in time"));
        problems.push(("413", "`payload_too_large` or `media_too_large`"));
        problems.push(("415", "`unsupported_media_type` or `unsupported_media`"));
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, description) in problems {
        responses.entry(status).or_insert_with(|| json!({"description": description}));
    }
    for (status, response) in responses.iter_mut() {
        if status.as_str() >= "400" {
            response["content"] =
                json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
        }
    }
}
