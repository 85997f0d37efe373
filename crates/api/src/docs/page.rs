//! Pages and documents that do not change while the server runs.

use std::io::Read as _;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        self, AcceptEncoding, ContentEncoding, ETag, Encoding, EntityTag, Header as _, IfNoneMatch,
    },
    web::Bytes,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, bufread::GzEncoder};
use sha2::{Digest as _, Sha256};

use crate::middleware::security_headers::page_policy;

const CACHE_CONTROL: &str = "public, max-age=300";

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
    pub(super) fn html(html: String) -> Self {
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
