//! Explanations of problems.

use actix_web::{get, web::Json};
use api_types::{PROBLEM_KINDS, ProblemKind};

use crate::{
    error::{ApiError, Result},
    request::context::RequestContext,
};

/// Every kind of problem that an answer can be.
#[utoipa::path(tag = "problems", responses((status = 200, body = Vec<ProblemKind>)))]
#[get("/problems")]
pub(crate) async fn list() -> Json<&'static [ProblemKind]> {
    Json(PROBLEM_KINDS)
}

/// What a kind of problem means, and what to do.
#[utoipa::path(
    tag = "problems",
    params(("code" = String, Path, description = "The `code` of a problem", example = "username_taken")),
    responses((status = 200, body = ProblemKind), (status = 404, description = "No problem has this code"))
)]
#[get("/problems/{code}")]
pub(crate) async fn get(context: RequestContext) -> Result<Json<&'static ProblemKind>> {
    ProblemKind::find(context.segment("code")).map(Json).ok_or_else(|| ApiError::of_status(404))
}
