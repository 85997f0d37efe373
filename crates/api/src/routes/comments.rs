//! Comments on posts.

use actix_web::{HttpResponse, delete, get, post, put, web::Json};
use api_types::format_timestamp;
use domain::{
    comments::{CommentContent, CommentId, CommentView},
    page::PageSize,
    posts::PostId,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Done;
use crate::{
    error::Result,
    pagination::{List, PageInfo, PageQuery},
    request::context::RequestContext,
    request::fields::Fields,
};

/// A comment.
#[derive(Serialize, ToSchema)]
pub(crate) struct CommentResponse {
    /// Which one.
    #[schema(example = 1)]
    id: i64,
    /// The post it is about.
    #[schema(example = 1)]
    post_id: i64,
    /// Who wrote it.
    #[schema(example = 2)]
    user_id: i64,
    /// The author's name.
    #[schema(example = "bob")]
    username: String,
    /// Its text.
    #[schema(example = "Well said!")]
    content: String,
    /// When it was written.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    created_at: String,
    /// When it was changed last.
    #[schema(format = DateTime, example = json!(null))]
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
    /// The newest first.
    comments: Vec<CommentResponse>,
    #[serde(flatten)]
    info: PageInfo,
}

/// The text of a comment.
#[derive(ToSchema)]
#[allow(dead_code)] // read by `Fields`, which names every mistake; this documents them
pub(crate) struct CommentRequest {
    /// Trimmed.
    #[schema(
        min_length = 1,
        max_length = 2000,
        pattern = "^[^\\x00]*[^\\s\\x00][^\\x00]*$",
        example = "Well said!"
    )]
    content: String,
}

fn content(fields: &mut Fields) -> Option<CommentContent> {
    let text = fields.text("content")?;
    fields.check(CommentContent::parse(&text))
}

/// Comments on a post and tells its author.
#[utoipa::path(
    tag = "comments",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "The post")),
    request_body = CommentRequest,
    responses((status = 200, body = CommentResponse))
)]
#[post("/posts/{post_id}/comment")]
pub(crate) async fn add(mut context: RequestContext) -> Result<Json<CommentResponse>> {
    let fields = context.json().await?;
    let me = context.verified().await?.user;
    let post = PostId(context.id("post_id")?);
    let content = fields.read(content)?;
    let comment =
        context.run(|services| async move { services.comments.add(post, me, content).await }).await?;
    Ok(Json(comment.into()))
}

/// The comments on a post. Those on a private post are for its owner's bearer alone.
#[utoipa::path(
    tag = "comments",
    security((), ("access" = [])),
    params(("post_id" = i64, Path, description = "The post"), PageQuery),
    responses((status = 200, body = CommentsResponse))
)]
#[get("/posts/{post_id}/comment")]
pub(crate) async fn list(context: RequestContext) -> Result<HttpResponse> {
    let viewer = context.viewer().await?;
    let id = context.id("post_id")?;
    let paging = context.page(List(format!("comments of {id}")), PageSize::DEFAULT)?;
    let request = paging.request;
    let page = context
        .run(|services| async move { services.comments.list(PostId(id), viewer, request).await })
        .await?;
    context.list_response(&paging, page, |items, info| CommentsResponse {
        comments: items.into_iter().map(Into::into).collect(),
        info,
    })
}

/// Changes one's own comment.
#[utoipa::path(
    tag = "comments",
    security(("access" = [])),
    params(
        ("post_id" = i64, Path, description = "The post"),
        ("comment_id" = i64, Path, description = "The comment"),
        ("content" = Option<String>, Query, description = "The new text, if there is no body")
    ),
    request_body = Option<CommentRequest>,
    responses((status = 200, body = CommentResponse))
)]
#[put("/posts/{post_id}/comment/{comment_id}")]
pub(crate) async fn update(mut context: RequestContext) -> Result<Json<CommentResponse>> {
    let fields = match (context.optional_json().await?, context.parameter("content")) {
        (Some(fields), _) => fields,
        (None, Some(text)) => Fields::from_form([("content".to_owned(), text.to_owned())]),
        (None, None) => Fields::from_json(b"")?,
    };
    let me = context.verified().await?.user;
    let (post, id) = (PostId(context.id("post_id")?), CommentId(context.id("comment_id")?));
    let content = fields.read(content)?;
    let comment =
        context.run(|services| async move { services.comments.update(post, id, me, content).await }).await?;
    Ok(Json(comment.into()))
}

/// Deletes one's own comment.
#[utoipa::path(
    tag = "comments",
    security(("access" = [])),
    params(
        ("post_id" = i64, Path, description = "The post"),
        ("comment_id" = i64, Path, description = "The comment")
    ),
    responses((status = 200, body = Done))
)]
#[delete("/posts/{post_id}/comment/{comment_id}")]
pub(crate) async fn delete(context: RequestContext) -> Result<Json<Done>> {
    let me = context.verified().await?.user;
    let (post, id) = (PostId(context.id("post_id")?), CommentId(context.id("comment_id")?));
    context.run(|services| async move { services.comments.delete(post, id, me).await }).await?;
    Ok(Done::new("Comment deleted"))
}
