//! The state and the documentation of Socket.IO.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse, get,
    web::{Data, Json},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{docs::page::StaticDocument, state::AppState};

static DOCUMENT: LazyLock<StaticDocument> =
    LazyLock::new(|| StaticDocument::json(infra_socketio::asyncapi(env!("CARGO_PKG_VERSION")).to_string()));

/// The state of Socket.IO.
#[derive(Serialize, ToSchema)]
pub(crate) struct SocketStatusResponse {
    /// Always `active`.
    #[schema(example = "active")]
    status: &'static str,
    /// Number of connected users; each counts once. Includes all server processes that share a Redis.
    #[schema(example = 0)]
    connected_users: usize,
}

/// Returns the number of users connected by Socket.IO.
#[utoipa::path(
    operation_id = "getSocketStatus",
    tag = "notifications",
    responses((status = 200, description = "The number of connected users", body = SocketStatusResponse))
)]
#[get("/socket/status")]
pub(crate) async fn status(state: Data<AppState>) -> Json<SocketStatusResponse> {
    Json(SocketStatusResponse { status: "active", connected_users: state.sockets.connected_users() })
}

/// Returns the `AsyncAPI` 3 document of the Socket.IO events.
#[get("/asyncapi.json")]
pub(crate) async fn document(request: HttpRequest) -> HttpResponse {
    DOCUMENT.respond(&request)
}
