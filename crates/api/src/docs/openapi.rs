//! The document: collected from the handlers, with what holds for all of them added once.

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
        description = "The backend of a social network: accounts, posts with media, likes, comments, follows, and \
            notifications.\n\nEvery answer from 400 on is a problem object (RFC 9457); its `code` is explained at \
            `/problems/{code}`. Every path answers with and without a slash at its end.",
        license(name = "MIT", identifier = "MIT")
    ),
    components(schemas(Problem, ProblemKind)),
    tags(
        (name = "users", description = "Accounts"),
        (name = "posts", description = "Posts and likes"),
        (name = "comments", description = "Comments on posts"),
        (name = "follows", description = "Who follows whom"),
        (name = "notifications", description = "What others did that concerns one"),
        (name = "media", description = "Files of posts"),
        (name = "problems", description = "What can go wrong"),
        (name = "operations", description = "For operators"),
        (name = "development", description = "Without an SMTP server")
    )
)]
struct Base;

/// The document.
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
                "description": "An access token. Log in by name or address.",
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

/// Adds the problems that an operation can answer for being what it is, and the shape of all of them.
fn complete(path: &str, operation: &mut Value) {
    let has = |key: &str| operation.get(key).is_some();
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let takes = |place: &str| parameters.iter().any(|parameter| parameter["in"] == place);
    let security = operation["security"].as_array().cloned().unwrap_or_default();
    let asks_for = |scheme: &str| security.iter().any(|requirement| requirement.get(scheme).is_some());
    let is_optional = security.iter().any(|requirement| requirement.as_object().is_some_and(Map::is_empty));

    let mut problems = vec![("500", "A fault of ours"), ("503", "A service behind ours does not answer")];
    if !["/livez", "/readyz"].contains(&path) {
        problems.push(("429", "`rate_limited`: come back after `Retry-After` seconds"));
    }
    if asks_for("access") && !is_optional {
        problems.push(("401", "`not_authenticated` or `invalid_token`"));
        problems.push(("403", "`not_verified` or `inactive_user`; `not_post_owner` where it is somebody's"));
    }
    if asks_for("refresh") {
        problems.push(("401", "`not_authenticated` or `invalid_token`"));
    }
    if takes("path") {
        problems.push(("404", "There is no such thing, or it is not for the caller's eyes"));
    }
    if takes("path") || takes("query") || has("requestBody") {
        problems.push(("422", "`validation_error`: `errors` lists every mistake"));
    }
    if parameters.iter().any(|parameter| parameter["name"] == "cursor") {
        problems.push(("400", "`invalid_cursor` or `page_too_deep`"));
    }
    if has("requestBody") {
        problems.push(("400", "`bad_request`: the body is broken"));
        problems.push(("408", "The body did not arrive in time"));
        problems.push(("413", "The body is too large"));
        problems.push(("415", "The body is of no accepted kind"));
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
