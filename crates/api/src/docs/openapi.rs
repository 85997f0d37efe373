//! The OpenAPI document: collected from the handlers, completed with what applies to all of them.

use std::sync::LazyLock;

use actix_web::App;
use api_types::{ProblemCode, ProblemKind};
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
    components(schemas(Problem, ProblemCode, ProblemKind)),
    servers((url = "/", description = "This server")),
    // In the order of a user's life.
    tags(
        (name = "accounts", description = "Registration, login, passwords and sessions"),
        (name = "people", description = "Follows between users"),
        (name = "posts", description = "Posts and likes"),
        (name = "comments", description = "Comments on posts"),
        (name = "notifications", description = "Notifications of the caller"),
        (name = "media", description = "Files of posts"),
        (name = "problems", description = "Explanations of errors"),
        (name = "operations", description = "Health checks"),
        (name = "development", description = "Development inbox: mail of a server without SMTP")
    )
)]
struct Base;

/// Error responses that many operations share: name, status and description.
const SHARED_RESPONSES: [(&str, &str, &str); 13] = [
    ("BadRequest", "400", "`bad_request`: the body is malformed"),
    ("InvalidPage", "400", "`invalid_cursor` or `page_too_deep`"),
    ("Unauthorized", "401", "`not_authenticated` or `invalid_token`"),
    ("Forbidden", "403", "`not_verified` or `inactive_user`"),
    ("NotFound", "404", "The resource does not exist, or the caller may not see it"),
    ("RequestTimeout", "408", "`request_timeout`: the body did not arrive in time"),
    ("PayloadTooLarge", "413", "`payload_too_large`: the body exceeds the limit"),
    ("MediaTooLarge", "413", "`payload_too_large` or `media_too_large`"),
    ("UnsupportedMediaType", "415", "`unsupported_media_type`, or `unsupported_media` for a file"),
    ("ValidationError", "422", "`validation_error`: `errors` lists every error"),
    ("RateLimited", "429", "`rate_limited`: retry after `Retry-After` seconds"),
    ("InternalError", "500", "`internal_error`: an error in the server"),
    ("Unavailable", "503", "`unavailable` or `overloaded`: retry after `Retry-After` seconds"),
];

/// Headers of responses: name, type, description and example.
const HEADERS: [(&str, &str, &str, &str); 7] = [
    ("X-Request-Id", "string", "Id of the request, which the server also logs", "h2Bx7mJkQ0aZ"),
    (
        "RateLimit-Policy",
        "string",
        "Quota and window in seconds of the narrowest limit",
        "\"read\";q=600;w=60",
    ),
    (
        "RateLimit",
        "string",
        "Remaining quota, and seconds until all of it is available",
        "\"read\";r=599;t=1",
    ),
    ("Retry-After", "integer", "Seconds after which a retry may succeed", "2"),
    ("WWW-Authenticate", "string", "The authentication scheme", "Bearer"),
    (
        "Link",
        "string",
        "URLs of the `first`, `prev`, `next` and `last` page (RFC 8288)",
        "</posts/?page=2>; rel=\"next\"",
    ),
    ("ETag", "string", "Version of the content, for `If-None-Match`", "W/\"p3SLnqz8\""),
];

/// Returns the document, which is built once.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let (_, collected) = App::new()
            .into_utoipa_app()
            .openapi(Base::openapi())
            .configure(routes::configure)
            .split_for_parts();
        let mut document = serde_json::to_value(collected).unwrap_or_default();
        for (path, operation) in operations(&mut document) {
            complete(path, operation);
        }
        let components = &mut document["components"];
        for (name, status, description) in SHARED_RESPONSES {
            components["responses"][name] = json!({"description": description});
            complete_response(status, &mut components["responses"][name]);
        }
        for (name, kind, description, example) in HEADERS {
            components["headers"][name] =
                json!({"description": description, "schema": {"type": kind}, "example": example});
        }
        components["headers"]["Retry-After"]["example"] = json!(2);
        components["securitySchemes"] = json!({
            "access": {
                "type": "oauth2",
                "description": "An access token. Log in with a username or an email address.",
                "flows": {"password": {"tokenUrl": "/users/login", "refreshUrl": "/users/refresh", "scopes": {}}}
            },
            "refresh": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A refresh token."}
        });
        document
    });
    &DOCUMENT
}

fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::iter_mut);
    let items = paths.filter_map(|(path, item)| Some((path.as_str(), item.as_object_mut()?)));
    items.flat_map(|(path, item)| item.values_mut().map(move |operation| (path, operation)))
}

/// Adds what follows from the kind of operation: error responses, headers, and that a public operation needs no token.
fn complete(path: &str, operation: &mut Value) {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let has_parameter_in = |location: &str| parameters.iter().any(|parameter| parameter["in"] == location);
    let is_list = parameters.iter().any(|parameter| parameter["name"] == "cursor");
    let body = operation.pointer("/requestBody/content").and_then(Value::as_object);
    let (has_body, has_file) =
        (body.is_some(), body.is_some_and(|body| body.contains_key("multipart/form-data")));
    let security = operation["security"].as_array().cloned().unwrap_or_default();
    let requires = |scheme: &str| security.iter().any(|requirement| requirement.get(scheme).is_some());
    let is_optional = security.iter().any(|requirement| requirement.as_object().is_some_and(Map::is_empty));
    let is_closed = requires("access") && !is_optional;
    let is_limited = !["/livez", "/readyz"].contains(&path);

    let shared = [
        ("InvalidPage", is_list),
        ("BadRequest", has_body),
        ("Unauthorized", is_closed || requires("refresh")),
        ("Forbidden", is_closed),
        ("NotFound", has_parameter_in("path")),
        ("RequestTimeout", has_body),
        (if has_file { "MediaTooLarge" } else { "PayloadTooLarge" }, has_body),
        ("UnsupportedMediaType", has_body),
        ("ValidationError", has_parameter_in("path") || has_parameter_in("query") || has_body),
        ("RateLimited", is_limited),
        ("InternalError", true),
        ("Unavailable", true),
    ];
    if security.is_empty() {
        operation["security"] = json!([]);
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let has_version = responses.contains_key("304");
    for (status, response) in responses.iter_mut() {
        if has_version && status.as_str() < "400" {
            add_headers(response, &["ETag"]);
        }
        complete_response(status, response);
        if is_limited {
            add_headers(response, &["RateLimit-Policy", "RateLimit"]);
        }
        if is_list && status == "200" {
            add_headers(response, &["Link"]);
        }
    }
    for (name, status, _) in SHARED_RESPONSES {
        if shared.contains(&(name, true)) {
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            responses.entry(status).or_insert(reference);
        }
    }
    responses.sort_keys();
}

/// Adds the headers of all responses of this status, and the body of errors.
fn complete_response(status: &str, response: &mut Value) {
    add_headers(response, &["X-Request-Id"]);
    match status {
        "401" => add_headers(response, &["WWW-Authenticate"]),
        "429" | "503" => add_headers(response, &["Retry-After"]),
        _ => {}
    }
    if status >= "400" {
        response["content"] =
            json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    }
}

fn add_headers(response: &mut Value, names: &[&str]) {
    for name in names {
        response["headers"][name] = json!({"$ref": format!("#/components/headers/{name}")});
    }
}
