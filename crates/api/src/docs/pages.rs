//! The welcome page and the documentation pages, which work without internet access.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header,
    middleware::Compress,
    web::{Bytes, Data},
};
use askama::Template;
use serde_json::json;

use super::openapi;
use crate::{
    error::Result, middleware::security_headers::page_policy, request::accepts_html, state::AppState,
};

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
pub(crate) struct Page {
    html: Bytes,
    policy: String,
}

impl Page {
    pub(crate) fn new(html: String) -> Self {
        Self { policy: page_policy(&html), html: html.into() }
    }

    pub(crate) fn respond(&self) -> HttpResponse {
        HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, self.policy.as_str()))
            .body(self.html.clone())
    }
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
