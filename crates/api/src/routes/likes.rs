//! Likes of posts.

use actix_web::{
    delete, post,
    web::{Data, Json},
};
use domain::posts::PostId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    error::Result,
    request::{AuthenticatedUser, Checked, PathId},
    state::AppState,
};

/// The number of likes after a change.
#[derive(Serialize, ToSchema)]
pub(crate) struct LikeResponse {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// What was done.
    #[schema(example = "Post liked successfully")]
    message: &'static str,
    /// Number of likes of the post.
    #[schema(example = 1)]
    likes_count: i64,
}

/// Likes a post.
#[utoipa::path(
    operation_id = "likePost",
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "Id of the post")),
    responses(
        (status = 200, description = "The caller likes the post", body = LikeResponse),
        (status = 400, description = "`already_liked`")
    )
)]
#[post("/posts/{post_id}/like")]
pub(crate) async fn like(
    Checked((caller, post)): Checked<(AuthenticatedUser, PathId<PostId>)>,
    state: Data<AppState>,
) -> Result<Json<LikeResponse>> {
    let likes_count =
        state.run(|services| async move { services.posts.like(caller.user, post).await }).await?;
    Ok(Json(LikeResponse { success: true, message: "Post liked successfully", likes_count }))
}

/// Removes the caller's like and its notification.
#[utoipa::path(
    operation_id = "unlikePost",
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "Id of the post")),
    responses(
        (status = 200, description = "The like is removed", body = LikeResponse),
        (status = 400, description = "`not_liked`")
    )
)]
#[delete("/posts/{post_id}/like")]
pub(crate) async fn unlike(
    Checked((caller, post)): Checked<(AuthenticatedUser, PathId<PostId>)>,
    state: Data<AppState>,
) -> Result<Json<LikeResponse>> {
    let likes_count =
        state.run(|services| async move { services.posts.unlike(caller.user, post).await }).await?;
    Ok(Json(LikeResponse { success: true, message: "Post unliked successfully", likes_count }))
}
