//! The greeting, and the documentation: pages that need nothing from elsewhere.

use std::sync::LazyLock;

use actix_web::{HttpResponse, get, http::header, middleware::Compress, web::Json};
use api_types::{PROBLEM_KINDS, ProblemKind};
use askama::Template;
use serde_json::json;

use crate::{
    call::Call,
    error::{ApiError, Result},
    openapi,
    security::page_policy,
};

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
pub(crate) async fn welcome(call: Call) -> Result<HttpResponse> {
    let version = env!("CARGO_PKG_VERSION");
    if call.wants_html() {
        let html = Welcome { version, has_inbox: call.app.inbox.is_some() }
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

/// Every kind of problem that an answer can be.
#[utoipa::path(tag = "problems", responses((status = 200, body = Vec<ProblemKind>)))]
#[get("/problems")]
pub(crate) async fn problem_list() -> Json<&'static [ProblemKind]> {
    Json(PROBLEM_KINDS)
}

/// What a kind of problem means, and what to do.
#[utoipa::path(
    tag = "problems",
    params(("code" = String, Path, description = "The `code` of a problem", example = "username_taken")),
    responses((status = 200, body = ProblemKind), (status = 404, description = "No problem has this code"))
)]
#[get("/problems/{code}")]
pub(crate) async fn problem(call: Call) -> Result<Json<&'static ProblemKind>> {
    ProblemKind::find(call.segment("code")).map(Json).ok_or_else(|| ApiError::of_status(404))
}
