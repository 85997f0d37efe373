//! The `/socket.io` route: passes requests of actix-web to the engine, which is a tower service, and its responses back.
//!
//! A polling request is a plain call. A websocket request is an HTTP request until its response: CORS, limits and logs
//! apply to it as to others. Then the engine gets its TCP connection.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse, Resource, ResponseError,
    http::{StatusCode, header},
    web,
};
use api_types::Origins;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use socketioxide::socket::Sid;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::engine::{
    connect_error,
    refusal::Refusal,
    request::{EngineRequest, PATH},
    shared::Engine,
    transport::Transport,
    upgrade::UpgradeRequest,
    websocket::WebSocketStream,
};

/// Bytes that a message costs at least, even an empty one.
const MIN_MESSAGE_COST: usize = 64;

/// Returns the resource, with and without a trailing slash.
pub(crate) fn resource(engine: Arc<Engine>) -> Resource {
    web::resource([PATH.to_owned(), format!("{PATH}/")]).to(
        move |request: HttpRequest, body: web::Payload| {
            let engine = engine.clone();
            async move {
                match serve(&engine, &request, body).await {
                    Ok(response) => response,
                    Err(refusal) => {
                        engine.counters().refused[refusal as usize] += 1;
                        refusal.error_response()
                    }
                }
            }
        },
    )
}

async fn serve(
    engine: &Arc<Engine>,
    http_request: &HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let request = EngineRequest::parse(http_request)?;
    // A session cannot begin with a POST, whose body would keep a place of its address while it arrives.
    let transport = if request.is_handshake && !request.is_post {
        if engine.stopping.is_cancelled() {
            return Err(Refusal::ShuttingDown);
        }
        let (address, limit) = ((engine.config.address)(http_request), engine.config.max_per_address);
        let transport = engine.transports.create(address, limit, request.credentials.clone());
        transport.ok_or(Refusal::TooManyConnections)?
    } else if let Some(transport) = request.sid.and_then(|sid| engine.transports.find(sid)) {
        transport
    } else {
        // The engine does not know the session either, and has its own error response.
        return Ok(to_http(engine.call(request.to_polling(Bytes::new(), None)?).await));
    };
    if request.is_websocket {
        websocket(engine, http_request, &request, body, transport).await
    } else {
        polling(engine, http_request, &request, body, transport).await
    }
}

async fn polling(
    engine: &Arc<Engine>,
    http_request: &HttpRequest,
    request: &EngineRequest,
    body: web::Payload,
    transport: Arc<Transport>,
) -> Result<HttpResponse, Refusal> {
    // Held until the response. A client that sends several at once breaks the protocol, and loses its session.
    let sending = request.is_post.then(|| transport.sending.try_lock()).transpose();
    let Ok(_sending) = sending else {
        engine.close(&transport);
        return Err(Refusal::OverlappingMessages);
    };
    let body = if request.is_post {
        tokio::select! {
            body = body.to_bytes_limited(engine.config.max_message_bytes) => {
                body.map_err(|_| Refusal::TooLarge)?.map_err(|_| Refusal::BadRequest)?
            }
            () = transport.closed.cancelled() => return Err(Refusal::BadRequest),
        }
    } else {
        Bytes::new()
    };
    if request.is_post && !transport.spend(body.len().max(MIN_MESSAGE_COST), engine.config.budget) {
        engine.close(&transport);
        return Err(Refusal::TooMuchData);
    }
    let mut engine_request = request.to_polling(body, request.is_handshake.then(|| transport.clone()))?;
    let content_type = http_request.headers().get(header::CONTENT_TYPE);
    if let Some(Ok(value)) = content_type.map(|value| http::HeaderValue::from_bytes(value.as_bytes())) {
        engine_request.headers_mut().insert(http::header::CONTENT_TYPE, value);
    }
    let mut response = engine.call(engine_request).await;
    if request.is_handshake
        && let Some(sid) = sid_of(response.body())
    {
        engine.transports.set_sid(&transport, sid);
    }
    if !request.is_post
        && let Some(problem) = transport.rejection()
        && let Some(body) = connect_error::complete_payload(response.body(), problem)
    {
        *response.body_mut() = body;
        // Not at once: the client may be answering a ping, and that failure would reach it first.
        engine.close_after_refusal(transport.clone());
    }
    Ok(to_http(response))
}

async fn websocket(
    engine: &Arc<Engine>,
    http_request: &HttpRequest,
    request: &EngineRequest,
    mut body: web::Payload,
    transport: Arc<Transport>,
) -> Result<HttpResponse, Refusal> {
    if !is_origin_allowed(http_request, &engine.config.origins) {
        return Err(Refusal::OriginNotAllowed);
    }
    let mut switching = actix_http::ws::handshake(http_request.head()).map_err(|_| Refusal::BadRequest)?;
    let upgrade = http_request.conn_data::<UpgradeRequest>().ok_or(Refusal::BadRequest)?;
    let head = request.head(request.is_handshake.then(|| transport.clone()))?;
    // Some clients send frames without waiting for the response. One turn of the HTTP server makes them available; until
    // the response nothing else awaits, so no further ones arrive in between.
    tokio::task::yield_now().await;
    let mut early = BytesMut::new();
    while let Some(Some(Ok(chunk))) = body.next().now_or_never() {
        early.extend_from_slice(&chunk);
    }
    let (sender, connection) = oneshot::channel();
    let accepted = {
        // The tasks of the engine live there: HTTP workers end before their websockets do.
        let _guard = engine.runtime.enter();
        let is_upgrade = !request.is_handshake;
        let stream = WebSocketStream::new(engine.clone(), transport, is_upgrade, early.freeze(), connection);
        // Boxed: the engine's tasks reserve space for the stream in several places.
        engine.service.clone().call((Box::new(stream), head)).into_inner()
    };
    if accepted.is_err() {
        // A plain request fails in the same way, with a response that says why.
        return Ok(to_http(engine.call(request.to_polling(Bytes::new(), None)?).await));
    }
    upgrade.hand_over_to(sender);
    Ok(HttpResponse::from(switching.finish().map_into_boxed_body()))
}

fn to_http(response: http::Response<Bytes>) -> HttpResponse {
    let status = StatusCode::from_u16(response.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut http_response = HttpResponse::build(status);
    for (name, value) in response.headers() {
        if name != http::header::CONTENT_LENGTH {
            http_response.append_header((name.as_str(), value.as_bytes()));
        }
    }
    http_response.body(response.into_body())
}

/// Returns the session of a polling handshake's response: `0{"sid":"…",…}`.
fn sid_of(body: &[u8]) -> Option<Sid> {
    #[derive(Deserialize)]
    struct Open<'a> {
        sid: &'a str,
    }
    let open: Open<'_> = serde_json::from_slice(body.strip_prefix(b"0")?).ok()?;
    open.sid.parse().ok()
}

/// Browsers apply CORS to polling but let any page open websockets, so the server must check their origin.
fn is_origin_allowed(request: &HttpRequest, allowed: &Origins) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    allowed.allow(origin)
        || authority.is_some_and(|authority| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)))
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
        is_origin_allowed(&request, &Origins::parse("https://example.org").unwrap())
    }

    #[test]
    fn allowed_origins_and_the_own_origin_may_open_websockets() {
        assert!(allows("https://example.org"));
        assert!(allows("https://api.example.org"));
    }

    #[test]
    fn other_origins_may_not_open_websockets() {
        for origin in ["https://example.org.evil.test", "http://example.org", "null", "https://evil.test"] {
            assert!(!allows(origin), "{origin}");
        }
    }

    #[test]
    fn clients_without_an_origin_may_open_websockets() {
        assert!(is_origin_allowed(&TestRequest::default().to_http_request(), &Origins::default()));
    }

    #[test]
    fn sid_is_read_from_the_handshake() {
        let sid = Sid::new();
        assert_eq!(sid_of(format!(r#"0{{"sid":"{sid}","upgrades":[]}}"#).as_bytes()), Some(sid));
        assert_eq!(sid_of(br#"{"code":"0"}"#), None);
    }
}
