//! The welcome page and the documentation pages, which work without internet access.

use std::{io::Read as _, sync::LazyLock};

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{
        self, AcceptEncoding, ContentEncoding, ETag, Encoding, EntityTag, Header as _, IfNoneMatch,
    },
    web::{Bytes, Data},
};
use askama::Template;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, bufread::GzEncoder};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::openapi;
use crate::{
    error::Result, middleware::security_headers::page_policy, request::accepts_html, state::AppState,
};

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

const CACHE_CONTROL: &str = "public, max-age=300";

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

/// A document that stays the same while the server runs. It is compressed once, on first use: anonymous clients request
/// these large documents as often as they like.
pub(crate) struct StaticDocument {
    content_type: &'static str,
    policy: Option<String>,
    identity: Bytes,
    gzip: Option<Bytes>,
    tag: EntityTag,
}

impl StaticDocument {
    fn html(html: String) -> Self {
        let policy = Some(page_policy(&html));
        Self { policy, ..Self::new("text/html; charset=utf-8", html) }
    }

    pub(crate) fn json(text: String) -> Self {
        Self::new("application/json", text)
    }

    fn new(content_type: &'static str, text: String) -> Self {
        let mut gzip = Vec::new();
        let compressed = GzEncoder::new(text.as_bytes(), Compression::best()).read_to_end(&mut gzip);
        // Weak, because both encodings have it.
        let tag = EntityTag::new_weak(URL_SAFE_NO_PAD.encode(&Sha256::digest(&text)[..12]));
        let gzip = compressed.is_ok().then(|| gzip.into());
        Self { content_type, policy: None, identity: text.into(), gzip, tag }
    }

    /// Returns the document in an encoding that the client accepts, or 304 if the client has it.
    pub(crate) fn respond(&self, request: &HttpRequest) -> HttpResponse {
        let has_current = match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Err(_) => false,
        };
        let mut response = if has_current { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response.insert_header((header::CACHE_CONTROL, CACHE_CONTROL));
        response.insert_header((header::VARY, "Accept-Encoding")).insert_header(ETag(self.tag.clone()));
        if has_current {
            return response.finish();
        }
        response.content_type(self.content_type);
        if let Some(policy) = &self.policy {
            response.insert_header((header::CONTENT_SECURITY_POLICY, policy.as_str()));
        }
        match self.gzip.as_ref().filter(|_| accepts_gzip(request)) {
            Some(gzip) => response.insert_header(ContentEncoding::Gzip).body(gzip.clone()),
            None => response.body(self.identity.clone()),
        }
    }
}

fn accepts_gzip(request: &HttpRequest) -> bool {
    let accepted = AcceptEncoding::parse(request).ok();
    let supported = [Encoding::gzip(), Encoding::identity()];
    accepted.and_then(|accepted| accepted.negotiate(supported.iter())) == Some(Encoding::gzip())
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
