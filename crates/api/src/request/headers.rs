//! What the headers of a request tell about its client.

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap, HeaderName},
};

/// Returns the token of the `Authorization` header; an invalid one if there are several headers.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    api_types::request_token(headers.get_all(header::AUTHORIZATION).map(header::HeaderValue::as_bytes))
}

/// Returns the `User-Agent` header.
pub(crate) fn user_agent(request: &HttpRequest) -> Option<String> {
    text(request, &header::USER_AGENT).map(str::to_owned)
}

/// Returns whether a browser asks for a page rather than for data.
pub(crate) fn accepts_html(request: &HttpRequest) -> bool {
    text(request, &header::ACCEPT).is_some_and(|accept| accept.contains("text/html"))
}

fn text<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}
