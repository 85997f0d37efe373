//! Explanations of problems.

use actix_web::{
    get,
    web::{Json, Path},
};
use api_types::{PROBLEM_KINDS, ProblemKind};

use crate::error::{ApiError, Result};

/// Lists all kinds of problems.
#[utoipa::path(
    operation_id = "listProblems",
    tag = "problems",
    responses((status = 200, description = "All kinds of problems", body = Vec<ProblemKind>))
)]
#[get("/problems")]
pub(crate) async fn list() -> Json<&'static [ProblemKind]> {
    Json(PROBLEM_KINDS)
}

/// Explains a kind of problem.
#[utoipa::path(
    operation_id = "getProblem",
    tag = "problems",
    params(("code" = String, Path, description = "The `code` of a problem", example = "username_taken")),
    responses(
        (status = 200, description = "The explanation", body = ProblemKind),
        (status = 404, description = "`not_found`: no problem has this code")
    )
)]
#[get("/problems/{code}")]
pub(crate) async fn get(code: Path<String>) -> Result<Json<&'static ProblemKind>> {
    ProblemKind::find(&code).map(Json).ok_or_else(|| ApiError::of_status(404))
}
