//! The welcome page and the documentation pages, which work without internet access.

use std::sync::LazyLock;

use actix_web::{HttpResponse, get, http::header, middleware::Compress};
use askama::Template;
use serde_json::json;

use super::openapi;
use crate::{error::Result, middleware::security_headers::page_policy, request::context::RequestContext};

/// The paths of this file, which the OpenAPI document does not list.
pub(crate) const PATHS: [&str; 5] = ["/", "/docs", "/redoc", "/openapi.json", "/asyncapi.json"];

static SWAGGER: LazyLock<Page> =
    LazyLock::new(|| Page::new(aide::swagger::Swagger::new("/openapi.json").with_title("Social API").html()));
static REDOC: LazyLock<Page> =
    LazyLock::new(|| Page::new(aide::redoc::Redoc::new("/openapi.json").with_title("Social API").html()));
static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome {
    version: &'static str,
    has_inbox: bool,
}

/// A page and its content security policy.
struct Page {
    html: String,
    policy: String,
}

impl Page {
    fn new(html: String) -> Self {
        let policy = page_policy(&html);
        Self { html, policy }
    }

    fn respond(&'static self) -> HttpResponse {
        HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, self.policy.as_str()))
            .body(self.html.as_str())
    }
}

/// Returns the welcome page to browsers, and a JSON object with links to other clients.
#[get("/")]
pub(crate) async fn welcome(context: RequestContext) -> Result<HttpResponse> {
    let version = env!("CARGO_PKG_VERSION");
    if context.accepts_html() {
        let html = Welcome { version, has_inbox: context.state.inbox.is_some() }
            .render()
            .map_err(domain::Error::internal)?;
        return Ok(HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, page_policy(&html)))
            .body(html));
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
#[get("/docs", wrap = "Compress::default()")]
pub(crate) async fn swagger() -> HttpResponse {
    SWAGGER.respond()
}

/// Returns `ReDoc`.
#[get("/redoc", wrap = "Compress::default()")]
pub(crate) async fn redoc() -> HttpResponse {
    REDOC.respond()
}

/// Returns the OpenAPI document.
#[get("/openapi.json", wrap = "Compress::default()")]
pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.as_str())
}
