//! Requests to the engine, without anything it does not need.

use std::sync::Arc;

use actix_web::{HttpRequest, http::header};
use api_types::request_token;
use bytes::Bytes;
use domain::notifications::NotificationId;
use http_body_util::Full;
use socketioxide::socket::Sid;
use url::form_urlencoded;

use crate::engine::{
    refusal::Refusal,
    transport::{Credentials, Transport},
};

/// The path that clients expect, without its trailing slash, which a normalizer may have removed.
pub(crate) const PATH: &str = "/socket.io";

/// Query parameters of the engine. Others are not passed on: a token in the query or in a header stays out of everything
/// that might log a request, and an idle session does not keep the headers of its request in memory.
const ENGINE_PARAMETERS: [&str; 5] = ["EIO", "transport", "sid", "t", "b64"];

/// A parsed request.
pub(crate) struct EngineRequest {
    /// The session it belongs to.
    pub(crate) sid: Option<Sid>,
    /// Whether it begins a session.
    pub(crate) is_handshake: bool,
    /// Whether it asks for a websocket.
    pub(crate) is_websocket: bool,
    pub(crate) is_post: bool,
    pub(crate) credentials: Credentials,
    method: http::Method,
    parameters: String,
}

impl EngineRequest {
    /// Parses a request.
    pub(crate) fn parse(request: &HttpRequest) -> Result<Self, Refusal> {
        let mut credentials = Credentials::default();
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        let (mut sid, mut has_sid, mut names_websocket) = (None, false, false);
        for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
            match &*name {
                "token" => credentials.token = Some(value.into_owned()),
                "since" => credentials.since = value.parse().ok().map(NotificationId),
                name if ENGINE_PARAMETERS.contains(&name) => {
                    if name == "sid" {
                        has_sid = true;
                        sid = value.parse().ok();
                    }
                    names_websocket |= name == "transport" && value == "websocket";
                    parameters.append_pair(name, &value);
                }
                _ => {}
            }
        }
        credentials.token = credentials.token.filter(|token| !token.is_empty()).or_else(|| {
            let headers = request.headers().get_all(header::AUTHORIZATION);
            request_token(headers.map(header::HeaderValue::as_bytes)).map(str::to_owned)
        });
        Ok(Self {
            sid,
            is_handshake: !has_sid,
            is_websocket: names_websocket && request.headers().contains_key(header::UPGRADE),
            is_post: request.method() == actix_web::http::Method::POST,
            credentials,
            method: request.method().as_str().parse().map_err(|_| Refusal::BadRequest)?,
            parameters: parameters.finish(),
        })
    }

    /// Builds the head of the engine's request. A handshake carries its transport.
    pub(crate) fn head(&self, transport: Option<Arc<Transport>>) -> Result<http::Request<()>, Refusal> {
        let mut head = http::Request::builder()
            .method(self.method.clone())
            .uri(format!("{PATH}/?{}", self.parameters))
            .body(())
            .map_err(|_| Refusal::BadRequest)?;
        if let Some(transport) = transport {
            head.extensions_mut().insert(transport);
        }
        Ok(head)
    }

    /// Builds a plain request for the engine. A websocket request of a session becomes a polling one, for which the
    /// engine has an error response if the session does not exist.
    pub(crate) fn to_polling(
        &self,
        body: Bytes,
        transport: Option<Arc<Transport>>,
    ) -> Result<http::Request<Full<Bytes>>, Refusal> {
        let mut head = self.head(transport)?;
        if self.is_websocket && self.sid.is_some() {
            let uri = head.uri().to_string().replace("transport=websocket", "transport=polling");
            *head.uri_mut() = uri.parse().map_err(|_| Refusal::BadRequest)?;
        }
        Ok(head.map(|()| Full::new(body)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn parse(uri: &str) -> EngineRequest {
        let request =
            TestRequest::with_uri(uri).insert_header((header::AUTHORIZATION, "bearer  from-header"));
        EngineRequest::parse(&request.to_http_request()).ok().unwrap()
    }

    #[test]
    fn engine_request_has_no_token() {
        let request = parse("/socket.io?EIO=4&token=secret&transport=polling&since=7&x=y");
        let head = request.head(None).ok().unwrap();
        assert_eq!(head.uri(), "/socket.io/?EIO=4&transport=polling");
        assert!(head.headers().is_empty());
        assert_eq!(request.credentials.token.as_deref(), Some("secret"));
        assert_eq!(request.credentials.since, Some(NotificationId(7)));
    }

    #[test]
    fn header_token_is_used_if_the_query_has_none() {
        for uri in ["/socket.io?EIO=4&transport=polling", "/socket.io?EIO=4&transport=polling&token="] {
            assert_eq!(parse(uri).credentials.token.as_deref(), Some("from-header"));
        }
    }

    #[test]
    fn several_header_tokens_are_invalid_together() {
        let header = (header::AUTHORIZATION, "Bearer abc");
        let request = TestRequest::with_uri("/socket.io?EIO=4&transport=polling");
        let request = request.append_header(header.clone()).append_header(header).to_http_request();
        let parsed = EngineRequest::parse(&request).ok().unwrap();
        assert_eq!(parsed.credentials.token.as_deref(), Some(""));
    }

    #[test]
    fn request_without_a_session_is_a_handshake() {
        assert!(parse("/socket.io?EIO=4&transport=polling").is_handshake);
        assert!(!parse("/socket.io?EIO=4&transport=polling&sid=nonsense").is_handshake);
    }
}
