//! What the headers of a request tell about its client.

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::{
        header::{self, HeaderMap, HeaderName},
        uri::Authority,
    },
};

use super::client_addr::ClientInfo;
use crate::state::AppState;

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

/// Returns the base URL of this server: `PUBLIC_URL`, else the address that the request was sent to.
pub(crate) fn base_url(state: &AppState, request: &HttpRequest) -> String {
    if let Some(url) = &state.public_url {
        return url.to_string();
    }
    let extensions = request.extensions();
    let client = extensions.get::<ClientInfo>();
    let scheme = if client.is_some_and(|client| client.is_secure) { "https" } else { "http" };
    let forwarded = client.and_then(|client| client.host.as_deref()).filter(|host| is_host(host));
    format!("{scheme}://{}", forwarded.unwrap_or_else(|| host(request)))
}

/// Returns the host that the client addressed, if it is valid.
fn host(request: &HttpRequest) -> &str {
    let host = text(request, &header::HOST).or_else(|| request.uri().authority().map(Authority::as_str));
    host.filter(|host| is_host(host)).unwrap_or("localhost")
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}

fn text<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}
