//! Entry points of the fuzzer.

use actix_web::{http::Uri, test::TestRequest};

use crate::engine::request::EngineRequest;

/// Reads the query of a handshake.
///
/// # Panics
/// If the engine's request contains the token.
pub fn handshake(query: &[u8]) {
    let query = String::from_utf8_lossy(query);
    let Ok(uri) = format!("/socket.io/?{query}").parse::<Uri>() else { return };
    let request = TestRequest::default().uri(&uri.to_string()).to_http_request();
    let Ok(request) = EngineRequest::parse(&request) else { return };
    let Ok(head) = request.head(None) else { return };
    let parameters = head.uri().query().unwrap_or_default();
    assert!(!parameters.split('&').any(|parameter| parameter.starts_with("token=")), "{parameters}");
}
