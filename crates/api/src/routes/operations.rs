//! Health checks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    get,
    web::{Data, Json},
};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::{
    error::{ApiError, Result},
    state::AppState,
};

/// How long the outcome of a check is returned again, so that the number of requests does not matter to the database.
const READINESS_LIFETIME: Duration = Duration::from_secs(1);

/// When the readiness was checked, and whether the database responded.
#[derive(Clone, Default)]
pub(crate) struct Readiness(Arc<Mutex<Option<(Instant, bool)>>>);

/// The health of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatusResponse {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Checks that the process runs. Restart it if this fails.
#[utoipa::path(
    operation_id = "checkLiveness",
    tag = "operations",
    responses((status = 200, description = "The process runs", body = StatusResponse))
)]
#[get("/livez")]
pub(crate) async fn live() -> Json<StatusResponse> {
    Json(StatusResponse { status: "ok" })
}

/// Checks that the server is ready: the database responds. Send no requests while this fails.
#[utoipa::path(
    operation_id = "checkReadiness",
    tag = "operations",
    responses((status = 200, description = "The server is ready", body = StatusResponse))
)]
#[get("/readyz")]
pub(crate) async fn ready(state: Data<AppState>) -> Result<Json<StatusResponse>> {
    // Requests that come meanwhile wait for the outcome of this check.
    let mut last = state.readiness.0.lock().await;
    let is_ready = match *last {
        Some((at, is_ready)) if at.elapsed() < READINESS_LIFETIME => is_ready,
        _ => {
            let health = state.health.clone();
            let checked = state.run(|_| async move { health.check().await }).await;
            *last = Some((Instant::now(), checked.is_ok()));
            checked.map(|()| true)?
        }
    };
    if is_ready {
        Ok(Json(StatusResponse { status: "ok" }))
    } else {
        // Without the cause, which has been logged.
        Err(ApiError::new("unavailable", "The service is temporarily unavailable"))
    }
}
