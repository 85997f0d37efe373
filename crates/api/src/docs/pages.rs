//! The greeting, and the documentation: pages that need nothing from elsewhere.

use std::sync::LazyLock;

use actix_web::{HttpResponse, get, http::header, middleware::Compress};
use askama::Template;
use serde_json::json;

use crate::{
    docs::openapi, error::Result, middleware::security_headers::page_policy, request::context::RequestContext,
};

/// Paths of the documentation, which the OpenAPI document does not list.
pub(crate) const PATHS: [&str; 5] = ["/", "/docs", "/redoc", "/openapi.json", "/asyncapi.json"];

static SWAGGER: LazyLock<Page> =
    LazyLock::new(|| Page::of(aide::swagger::Swagger::new("/openapi.json").with_title("Social API").html()));
static REDOC: LazyLock<Page> =
    LazyLock::new(|| Page::of(aide::redoc::Redoc::new("/openapi.json").with_title("Social API").html()));
static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome {
    version: &'static str,
    has_inbox: bool,
}

/// A page, and what browsers let it do.
struct Page {
    html: String,
    policy: String,
}

impl Page {
    fn of(html: String) -> Self {
        let policy = page_policy(&html);
        Self { html, policy }
    }

    fn answer(&'static self) -> HttpResponse {
        HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, self.policy.as_str()))
            .body(self.html.as_str())
    }
}

/// The greeting.
#[get("/")]
pub(crate) async fn welcome(context: RequestContext) -> Result<HttpResponse> {
    let version = env!("CARGO_PKG_VERSION");
    if context.wants_html() {
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

/// Swagger UI.
#[get("/docs", wrap = "Compress::default()")]
pub(crate) async fn swagger() -> HttpResponse {
    SWAGGER.answer()
}

/// `ReDoc`.
#[get("/redoc", wrap = "Compress::default()")]
pub(crate) async fn redoc() -> HttpResponse {
    REDOC.answer()
}

/// The document.
#[get("/openapi.json", wrap = "Compress::default()")]
pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.as_str())
}
