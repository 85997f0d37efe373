//! Metrics, for an address that is not public.

use actix_web::{HttpResponse, web::Data};

use crate::{state::AppState, telemetry::metrics::Snapshot};

/// Returns all metrics in the OpenMetrics text format.
pub(crate) async fn show(state: Data<AppState>) -> HttpResponse {
    let Some(metrics) = &state.metrics else { return HttpResponse::NotFound().finish() };
    let health = state.health.clone();
    let backlog = state.run(|_| async move { health.backlog().await }).await;
    let hashes = state.services.accounts.passwords.skipped();
    let snapshot = Snapshot {
        now: state.clock.now(),
        pools: (state.database.pools)(),
        backlog: backlog.ok(),
        sockets: state.sockets.metrics(),
        rate_limited: state.limits.refusals(),
        refused: [
            ("connections", state.connections.refused()),
            ("body_memory", state.bodies.memory.refused()),
            ("upload_disk", state.bodies.upload_budget.refused()),
            ("password_hashes", hashes.refused),
            ("abandoned_password_hashes", hashes.abandoned),
        ],
    };
    match metrics.encode(snapshot) {
        Ok(text) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
