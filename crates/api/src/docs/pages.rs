//! The welcome page and the documentation pages, which work without internet access.

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse, get, web::Data};
use askama::Template;
use serde_json::json;

use super::{
    openapi,
    page::{Page, StaticDocument},
};
use crate::{error::Result, request::accepts_html, state::AppState};

/// The paths of this file, which the OpenAPI document does not list.
pub(crate) const PATHS: [&str; 5] = ["/", "/docs", "/redoc", "/openapi.json", "/asyncapi.json"];

static SWAGGER: LazyLock<StaticDocument> = LazyLock::new(|| {
    StaticDocument::html(aide::swagger::Swagger::new("/openapi.json").with_title("Social API").html())
});
static REDOC: LazyLock<StaticDocument> = LazyLock::new(|| {
    StaticDocument::html(aide::redoc::Redoc::new("/openapi.json").with_title("Social API").html())
});
static DOCUMENT: LazyLock<StaticDocument> =
    LazyLock::new(|| StaticDocument::json(openapi::document().to_string()));

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome {
    version: &'static str,
    has_inbox: bool,
}

/// Returns the welcome page to browsers, and a JSON object with links to other clients.
#[get("/")]
pub(crate) async fn welcome(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse> {
    let version = env!("CARGO_PKG_VERSION");
    if accepts_html(&request) {
        let page = Welcome { version, has_inbox: state.inbox.is_some() };
        return Ok(Page::new(page.render().map_err(domain::Error::internal)?).respond());
    }
    Ok(HttpResponse::Ok().json(json!({
        "message": "Welcome to the social media API",
        "version": version,
        "docs": "/docs",
        "redoc": "/redoc",
        "openapi": "/openapi.json",
    })))
}

/// Returns Swagger UI.
#[get("/docs")]
pub(crate) async fn swagger(request: HttpRequest) -> HttpResponse {
    SWAGGER.respond(&request)
}

/// Returns `ReDoc`.
#[get("/redoc")]
pub(crate) async fn redoc(request: HttpRequest) -> HttpResponse {
    REDOC.respond(&request)
}

/// Returns the OpenAPI document.
#[get("/openapi.json")]
pub(crate) async fn document(request: HttpRequest) -> HttpResponse {
    DOCUMENT.respond(&request)
}
