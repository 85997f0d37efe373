//! What a request asks of the engine.

use actix_web::{HttpRequest, http::header};
use api_types::bearer_token;
use bytes::Bytes;
use domain::notifications::NotificationId;
use http_body_util::Full;
use socketioxide::socket::Sid;
use url::form_urlencoded;

use super::{Carried, PATH, Refusal};
use crate::transport::Query;

/// The parameters that the engine knows. Nothing else is handed to it: a token in the query or in a header stays out
/// of everything that might log a request, and an idle session does not hold its request's headers.
const KNOWN: [&str; 5] = ["EIO", "transport", "sid", "t", "b64"];

/// A request, as far as it matters.
pub(crate) struct Asked {
    /// The session it belongs to.
    pub(super) sid: Option<Sid>,
    /// Whether it begins a session.
    pub(super) is_handshake: bool,
    /// Whether it wants to become a websocket.
    pub(super) is_websocket: bool,
    pub(super) is_post: bool,
    /// Token and `since`, if the request has them.
    pub(super) query: Query,
    method: http::Method,
    parameters: String,
}

impl Asked {
    /// Reads it.
    pub(crate) fn read(request: &HttpRequest) -> Result<Self, Refusal> {
        let mut query = Query::default();
        let mut known = form_urlencoded::Serializer::new(String::new());
        let (mut sid, mut has_sid, mut websocket) = (None, false, false);
        for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
            match &*name {
                "token" => query.token = Some(value.into_owned()),
                "since" => query.since = value.parse().ok().map(NotificationId),
                name if KNOWN.contains(&name) => {
                    if name == "sid" {
                        has_sid = true;
                        sid = value.parse().ok();
                    }
                    websocket |= name == "transport" && value == "websocket";
                    known.append_pair(name, &value);
                }
                _ => {}
            }
        }
        query.token = query.token.filter(|token| !token.is_empty()).or_else(|| {
            let header = request.headers().get(header::AUTHORIZATION)?;
            bearer_token(header.as_bytes()).map(str::to_owned)
        });
        Ok(Self {
            sid,
            is_handshake: !has_sid,
            is_websocket: websocket && request.headers().contains_key(header::UPGRADE),
            is_post: request.method() == actix_web::http::Method::POST,
            query,
            method: request.method().as_str().parse().map_err(|_| Refusal::BadRequest)?,
            parameters: known.finish(),
        })
    }

    /// The head of the request for the engine.
    pub(crate) fn head(&self, carried: Option<Carried>) -> Result<http::Request<()>, Refusal> {
        let mut head = http::Request::builder()
            .method(self.method.clone())
            .uri(format!("{PATH}/?{}", self.parameters))
            .body(())
            .map_err(|_| Refusal::BadRequest)?;
        if let Some(carried) = carried {
            head.extensions_mut().insert(carried);
        }
        Ok(head)
    }

    /// A plain request for the engine. One that would become a websocket asks for nothing that exists.
    pub(super) fn as_polling(
        &self,
        body: Bytes,
        carried: Option<Carried>,
    ) -> Result<http::Request<Full<Bytes>>, Refusal> {
        let mut head = self.head(carried)?;
        if self.is_websocket && self.sid.is_some() {
            let uri = head.uri().to_string().replace("transport=websocket", "transport=polling");
            *head.uri_mut() = uri.parse().map_err(|_| Refusal::BadRequest)?;
        }
        Ok(head.map(|()| Full::new(body)))
    }
}

/// The request that ends a polling session: an Engine.IO close packet.
pub(crate) fn close_packet(sid: Sid) -> Option<http::Request<Full<Bytes>>> {
    let uri = format!("{PATH}/?EIO=4&transport=polling&sid={sid}");
    http::Request::post(uri).body(Full::from("1")).ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn asked(uri: &str) -> Asked {
        let request =
            TestRequest::with_uri(uri).insert_header((header::AUTHORIZATION, "bearer  from-header"));
        Asked::read(&request.to_http_request()).ok().unwrap()
    }

    #[test]
    fn the_engine_never_sees_the_token() {
        let asked = asked("/socket.io?EIO=4&token=secret&transport=polling&since=7&x=y");
        let head = asked.head(None).ok().unwrap();
        assert_eq!(head.uri(), "/socket.io/?EIO=4&transport=polling");
        assert!(head.headers().is_empty());
        assert_eq!(asked.query.token.as_deref(), Some("secret"));
        assert_eq!(asked.query.since, Some(NotificationId(7)));
    }

    #[test]
    fn the_header_counts_where_the_query_has_no_token() {
        for uri in ["/socket.io?EIO=4&transport=polling", "/socket.io?EIO=4&transport=polling&token="] {
            assert_eq!(asked(uri).query.token.as_deref(), Some("from-header"));
        }
    }

    #[test]
    fn a_request_without_a_session_begins_one() {
        assert!(asked("/socket.io?EIO=4&transport=polling").is_handshake);
        assert!(!asked("/socket.io?EIO=4&transport=polling&sid=nonsense").is_handshake);
    }
}
