//! Health checks.

use actix_web::{
    get,
    web::{Data, Json},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{error::Result, state::AppState};

/// The health of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatusResponse {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Checks that the process runs. Restart it if this fails.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The process runs", body = StatusResponse))
)]
#[get("/livez")]
pub(crate) async fn live() -> Json<StatusResponse> {
    Json(StatusResponse { status: "ok" })
}

/// Checks that the server is ready: the database responds. Send no requests while this fails.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The server is ready", body = StatusResponse))
)]
#[get("/readyz")]
pub(crate) async fn ready(state: Data<AppState>) -> Result<Json<StatusResponse>> {
    let health = state.health.clone();
    state.run(|_| async move { health.check().await }).await?;
    Ok(Json(StatusResponse { status: "ok" }))
}
