//! What operators and load balancers ask.

use actix_web::{get, web::Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{error::Result, request::context::RequestContext};

/// How it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatusResponse {
    /// In a word.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process lives; restart it if it does not.
#[utoipa::path(tag = "operations", responses((status = 200, body = StatusResponse)))]
#[get("/livez")]
pub(crate) async fn live() -> Json<StatusResponse> {
    Json(StatusResponse { status: "ok" })
}

/// Whether it can serve: the database answers. Send no requests while it does not.
#[utoipa::path(tag = "operations", responses((status = 200, body = StatusResponse)))]
#[get("/readyz")]
pub(crate) async fn ready(context: RequestContext) -> Result<Json<StatusResponse>> {
    context.state.check_ready().await?;
    Ok(Json(StatusResponse { status: "ok" }))
}
