//! Socket.IO inside actix-web: requests of `/socket.io` are handed to the engine, and its answers back.
//!
//! The engine is a tower service. A polling request is a plain call. A websocket is a request like any other until it
//! is answered: CORS, limits and logs apply to it as to the rest. Then the engine gets its connection.

mod asked;
mod handover;
mod line;
mod refusal;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse, Resource, ResponseError,
    http::{StatusCode, header},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use tower_service::Service;

pub use self::refusal::Refusal;
pub(crate) use self::{
    asked::{Asked, close_packet},
    handover::Lent,
    refusal::REJECTED,
};
use self::{handover::Wanted, line::Line};
use crate::{hub::Hub, transport::Transport};

/// The path that clients expect. Without its slash at the end, since actix-web may have trimmed that.
const PATH: &str = "/socket.io";

/// The transport, as an extension of the request that the engine keeps.
#[derive(Debug, Clone)]
pub(crate) struct Carried(pub(crate) Arc<Transport>);

/// The resource, with and without a slash at the end.
pub(crate) fn resource(hub: Arc<Hub>) -> Resource {
    web::resource([PATH.to_owned(), format!("{PATH}/")]).to(
        move |request: HttpRequest, body: web::Payload| {
            let hub = hub.clone();
            async move {
                match serve(&hub, &request, body).await {
                    Ok(answer) => answer,
                    Err(refusal) => {
                        hub.counters.refuse(refusal);
                        refusal.error_response()
                    }
                }
            }
        },
    )
}

async fn serve(hub: &Arc<Hub>, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Refusal> {
    let asked = Asked::read(request)?;
    let transport = match asked.sid {
        Some(sid) => hub.transports.find(sid),
        None if asked.is_handshake => Some(begin(hub, request, &asked)?),
        None => None,
    };
    match transport {
        Some(transport) if asked.is_websocket => websocket(hub, request, &asked, body, transport).await,
        // The engine knows no such session either, and says so in its own words.
        None => call(hub, asked.as_polling(Bytes::new(), None)?).await.map(Answer::into_response),
        Some(transport) => polling(hub, request, &asked, body, transport).await,
    }
}

fn begin(hub: &Arc<Hub>, request: &HttpRequest, asked: &Asked) -> Result<Arc<Transport>, Refusal> {
    if hub.is_closing() {
        return Err(Refusal::ShuttingDown);
    }
    let address = (hub.config.address)(request);
    hub.transports
        .begin(address, hub.config.per_address, asked.query.clone())
        .ok_or(Refusal::TooManyConnections)
}

async fn polling(
    hub: &Arc<Hub>,
    request: &HttpRequest,
    asked: &Asked,
    body: web::Payload,
    transport: Arc<Transport>,
) -> Result<HttpResponse, Refusal> {
    let body = match body.to_bytes_limited(hub.config.max_message).await {
        Ok(body) => body.map_err(|_| Refusal::BadRequest)?,
        Err(_) => return Err(Refusal::TooLarge),
    };
    // An empty message costs something too.
    if !asked.is_handshake && asked.is_post && !transport.spend(body.len().max(64), hub.config.budget) {
        hub.close(&transport);
        return Err(Refusal::TooMuchData);
    }
    let carried = asked.is_handshake.then(|| Carried(transport.clone()));
    let content_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_vec());
    let mut call_of = asked.as_polling(body, carried)?;
    if let Some(value) = content_type.and_then(|value| http::HeaderValue::from_bytes(&value).ok()) {
        call_of.headers_mut().insert(http::header::CONTENT_TYPE, value);
    }
    let mut answer = call(hub, call_of).await?;
    if asked.is_handshake
        && let Some(sid) = sid_of(&answer.body)
    {
        hub.transports.name(&transport, sid);
    }
    if !asked.is_post
        && let Some(problem) = transport.rejection()
        && let Some(body) = refusal::in_payload(&answer.body, &problem)
    {
        answer.body = body;
        // Not at once: an answer to a ping may be under way, and its failure would reach the client first.
        hub.close_soon(transport);
    }
    Ok(answer.into_response())
}

async fn websocket(
    hub: &Arc<Hub>,
    request: &HttpRequest,
    asked: &Asked,
    mut body: web::Payload,
    transport: Arc<Transport>,
) -> Result<HttpResponse, Refusal> {
    if !origin_is_allowed(request, &hub.config.origins) {
        return Err(Refusal::ForeignOrigin);
    }
    let mut switching = actix_http::ws::handshake(request.head()).map_err(|_| Refusal::BadRequest)?;
    let wanted = request.conn_data::<Wanted>().ok_or(Refusal::BadRequest)?;
    let carried = asked.is_handshake.then(|| Carried(transport.clone()));
    // Clients should wait for the answer, but some may not: what they have sent is there after one turn of the HTTP
    // server. From here to the answer nothing waits, so that nothing more comes in between.
    tokio::task::yield_now().await;
    let mut early = BytesMut::new();
    while let Some(Some(Ok(chunk))) = body.next().now_or_never() {
        early.extend_from_slice(&chunk);
    }
    let (line, slot) = Line::new(hub.clone(), transport, !asked.is_handshake, early.freeze());
    // In a box: the engine's tasks have room for it in several places.
    let line = Box::new(line);
    let head = asked.head(carried)?;
    if hub.inside(async { hub.engine.clone().call((line, head)).await }).await.is_err() {
        // Parsing it as a plain request fails alike, and that answer says why.
        return call(hub, asked.as_polling(Bytes::new(), None)?).await.map(Answer::into_response);
    }
    wanted.by(slot);
    Ok(HttpResponse::from(switching.finish().map_into_boxed_body()))
}

/// What the engine answered.
struct Answer {
    head: http::response::Parts,
    body: Bytes,
}

impl Answer {
    fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.head.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut answer = HttpResponse::build(status);
        for (name, value) in &self.head.headers {
            if name != http::header::CONTENT_LENGTH {
                answer.append_header((name.as_str(), value.as_bytes()));
            }
        }
        answer.body(self.body)
    }
}

async fn call(hub: &Hub, request: http::Request<Full<Bytes>>) -> Result<Answer, Refusal> {
    let answer = hub
        .inside(async { hub.engine.clone().call(request).await })
        .await
        .unwrap_or_else(|never| match never {});
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|_| Refusal::BadRequest)?.to_bytes();
    Ok(Answer { head, body })
}

/// The session's id in the answer to a polling handshake: `0{"sid":"…",…}`.
fn sid_of(body: &[u8]) -> Option<socketioxide::socket::Sid> {
    #[derive(Deserialize)]
    struct Open<'a> {
        sid: &'a str,
    }
    let open: Open<'_> = serde_json::from_slice(body.strip_prefix(b"0")?).ok()?;
    open.sid.parse().ok()
}

/// Browsers apply CORS to polling, but let any page open websockets: that is for the server to check.
fn origin_is_allowed(request: &HttpRequest, allowed: &[String]) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let own = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    allowed.iter().any(|one| one == "*" || one.trim_end_matches('/').eq_ignore_ascii_case(origin))
        || authority.is_some_and(|authority| own.is_some_and(|own| own.eq_ignore_ascii_case(authority)))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn allows(origin: &str) -> bool {
        let request = TestRequest::default()
            .insert_header((header::HOST, "api.example.org"))
            .insert_header((header::ORIGIN, origin.to_owned()))
            .to_http_request();
        origin_is_allowed(&request, &["https://example.org".to_owned()])
    }

    #[test]
    fn pages_of_listed_origins_and_our_own_may_open_websockets() {
        assert!(allows("https://example.org"));
        assert!(allows("https://api.example.org"));
    }

    #[test]
    fn other_pages_may_not() {
        for origin in ["https://example.org.evil.test", "http://example.org", "null", "https://evil.test"] {
            assert!(!allows(origin), "{origin}");
        }
    }

    #[test]
    fn who_is_no_browser_may() {
        assert!(origin_is_allowed(&TestRequest::default().to_http_request(), &[]));
    }

    #[test]
    fn the_session_is_read_from_the_handshake() {
        let sid = socketioxide::socket::Sid::new();
        assert_eq!(sid_of(format!(r#"0{{"sid":"{sid}","upgrades":[]}}"#).as_bytes()), Some(sid));
        assert_eq!(sid_of(br#"{"code":"0"}"#), None);
    }
}
