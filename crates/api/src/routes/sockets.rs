//! What can be known of the sockets without opening one.

use std::sync::LazyLock;

use actix_web::{HttpResponse, get, middleware::Compress, web::Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::request::context::RequestContext;

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| infra_socketio::asyncapi(env!("CARGO_PKG_VERSION")).to_string());

/// How the sockets are.
#[derive(Serialize, ToSchema)]
pub(crate) struct SocketStatusResponse {
    /// Always `active`.
    #[schema(example = "active")]
    status: &'static str,
    /// How many users are connected, on however many devices; to all server processes if they share a Redis.
    #[schema(example = 0)]
    connected_users: usize,
}

/// How many users are connected.
#[utoipa::path(tag = "notifications", responses((status = 200, body = SocketStatusResponse)))]
#[get("/socket/status")]
pub(crate) async fn status(context: RequestContext) -> Json<SocketStatusResponse> {
    Json(SocketStatusResponse { status: "active", connected_users: context.state.sockets.connected_users() })
}

/// The events, for programs (`AsyncAPI` 3).
#[get("/asyncapi.json", wrap = "Compress::default()")]
pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.as_str())
}
