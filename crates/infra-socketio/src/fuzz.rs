//! What the fuzzer calls and nobody else outside needs.

use actix_web::{http::Uri, test::TestRequest};

use crate::bridge::Asked;

/// The query of a request for a socket is read or refused, and what is handed on has no token in it.
///
/// # Panics
/// If it has.
pub fn handshake(query: &[u8]) {
    let query = String::from_utf8_lossy(query);
    let Ok(uri) = format!("/socket.io/?{query}").parse::<Uri>() else { return };
    let Ok(asked) = Asked::read(&TestRequest::default().uri(&uri.to_string()).to_http_request()) else {
        return;
    };
    let Ok(head) = asked.head(None) else { return };
    let parameters = head.uri().query().unwrap_or_default();
    assert!(!parameters.split('&').any(|parameter| parameter.starts_with("token=")), "{parameters}");
}
