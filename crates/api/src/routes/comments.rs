//! Comments on posts.

use actix_web::{
    HttpRequest, HttpResponse, delete, get, post, put,
    web::{Data, Json},
};
use api_types::format_timestamp;
use domain::{
    comments::{CommentContent, CommentId, CommentView},
    page::PageSize,
    posts::PostId,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::SuccessResponse;
use crate::{
    error::Result,
    pagination::{List, PageInfo, PageParams},
    request::{
        AuthenticatedUser, Checked, JsonBody, JsonBodyOrQuery, OptionalUser, PathId, Query, request_fields,
    },
    state::AppState,
};

/// A comment.
#[derive(Serialize, ToSchema)]
pub(crate) struct CommentResponse {
    /// Id of the comment.
    #[schema(example = 1)]
    id: i64,
    /// Id of the post.
    #[schema(example = 1)]
    post_id: i64,
    /// Id of the author.
    #[schema(example = 2)]
    user_id: i64,
    /// Username of the author.
    #[schema(example = "bob")]
    username: String,
    /// Text of the comment.
    #[schema(example = "Well said!")]
    content: String,
    /// When the comment was created.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    created_at: String,
    /// When the comment was last changed.
    #[schema(required, format = DateTime, example = json!(null))]
    updated_at: Option<String>,
}

impl From<CommentView> for CommentResponse {
    fn from(comment: CommentView) -> Self {
        Self {
            id: comment.id.0,
            post_id: comment.post.0,
            user_id: comment.author.0,
            username: comment.author_username,
            content: comment.content,
            created_at: format_timestamp(comment.created_at),
            updated_at: comment.updated_at.map(format_timestamp),
        }
    }
}

/// A page of comments.
#[derive(Serialize, ToSchema)]
pub(crate) struct CommentsResponse {
    /// Comments, newest first.
    comments: Vec<CommentResponse>,
    #[serde(flatten)]
    info: PageInfo,
}

request_fields! {
    /// The text of a comment.
    #[derive(ToSchema)]
    pub(crate) struct CommentRequest {
        /// Text of the comment. Surrounding white space is removed.
        #[schema(value_type = String, min_length = 1, max_length = 2000, pattern = "^[^\\x00]*[^\\s\\x00][^\\x00]*$", example = "Well said!")]
        content: CommentContent,
    }
}

/// Comments on a post.
#[utoipa::path(
    operation_id = "createComment",
    tag = "comments",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "Id of the post")),
    request_body = CommentRequest,
    responses((status = 200, description = "The new comment", body = CommentResponse))
)]
#[post("/posts/{post_id}/comment")]
pub(crate) async fn create(
    Checked((caller, post, request)): Checked<(AuthenticatedUser, PathId<PostId>, JsonBody<CommentRequest>)>,
    state: Data<AppState>,
) -> Result<Json<CommentResponse>> {
    let comment = state
        .run(|services| async move { services.comments.add(post, caller.user, request.content).await })
        .await?;
    Ok(Json(comment.into()))
}

/// Lists the comments on a post.
///
/// Comments on a private post are returned to its author only.
#[utoipa::path(
    operation_id = "listComments",
    tag = "comments",
    security((), ("access" = [])),
    params(("post_id" = i64, Path, description = "Id of the post"), PageParams),
    responses((status = 200, description = "A page of comments", body = CommentsResponse))
)]
#[get("/posts/{post_id}/comment")]
pub(crate) async fn list(
    Checked((viewer, post, params)): Checked<(OptionalUser, PathId<PostId>, Query<PageParams>)>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse> {
    let paging = params.paging(&state.cursors, List(format!("comments of {}", post.0)), PageSize::DEFAULT)?;
    let page = state
        .run(|services| async move { services.comments.list(post, viewer, paging.request).await })
        .await?;
    paging.respond(&state.cursors, &request, page, |items, info| CommentsResponse {
        comments: items.into_iter().map(Into::into).collect(),
        info,
    })
}

/// Changes one of the caller's comments.
#[utoipa::path(
    operation_id = "updateComment",
    tag = "comments",
    security(("access" = [])),
    params(
        ("post_id" = i64, Path, description = "Id of the post"),
        ("comment_id" = i64, Path, description = "Id of the comment"),
        ("content" = Option<String>, Query, description = "The new text, if there is no body")
    ),
    request_body = Option<CommentRequest>,
    responses((status = 200, description = "The changed comment", body = CommentResponse))
)]
#[put("/posts/{post_id}/comment/{comment_id}")]
pub(crate) async fn update(
    Checked((caller, post, comment, request)): Checked<(
        AuthenticatedUser,
        PathId<PostId>,
        PathId<CommentId>,
        JsonBodyOrQuery<CommentRequest>,
    )>,
    state: Data<AppState>,
) -> Result<Json<CommentResponse>> {
    let comment =
        state
            .run(|services| async move {
                services.comments.update(post, comment, caller.user, request.content).await
            })
            .await?;
    Ok(Json(comment.into()))
}

/// Deletes one of the caller's comments.
#[utoipa::path(
    operation_id = "deleteComment",
    tag = "comments",
    security(("access" = [])),
    params(
        ("post_id" = i64, Path, description = "Id of the post"),
        ("comment_id" = i64, Path, description = "Id of the comment")
    ),
    responses((status = 200, description = "The comment is deleted", body = SuccessResponse))
)]
#[delete("/posts/{post_id}/comment/{comment_id}")]
pub(crate) async fn delete(
    Checked((caller, post, comment)): Checked<(AuthenticatedUser, PathId<PostId>, PathId<CommentId>)>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.comments.delete(post, comment, caller.user).await }).await?;
    Ok(SuccessResponse::new("Comment deleted"))
}
