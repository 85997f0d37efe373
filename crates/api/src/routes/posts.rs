//! Posts and their likes.

use actix_web::{HttpResponse, delete, get, post, put, web::Json};
use api_types::format_timestamp;
use application::posts::PostDraft;
use domain::{
    media::MediaFile,
    page::PageSize,
    posts::{PostContent, PostId, PostView},
    users::UserId,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{Done, media::media_url};
use crate::{
    error::{ApiError, FieldError, Result},
    pagination::{List, PageInfo, PageQuery},
    parse::{MAX_NUMBER, parse_int},
    request::context::RequestContext,
    request::fields::Fields,
    request::multipart::Upload,
};

/// A post.
#[derive(Serialize, ToSchema)]
pub(crate) struct PostResponse {
    /// Which one.
    #[schema(example = 1)]
    id: i64,
    /// Who wrote it.
    #[schema(example = 1)]
    user_id: i64,
    /// The author's name.
    #[schema(example = "ann")]
    author_username: String,
    /// Its text.
    #[schema(example = "Hello, world!")]
    content: Option<String>,
    /// Loads its file without a token; that of a private post expires.
    #[schema(example = json!(null))]
    media_url: Option<String>,
    /// Whether it is for the author alone.
    #[schema(example = false)]
    is_private: bool,
    /// How many like it.
    #[schema(example = 0)]
    likes_count: i64,
    /// How many comments it has.
    #[schema(example = 0)]
    comments_count: i64,
    /// Whether the caller likes it.
    #[schema(example = false)]
    liked_by_me: bool,
    /// When it was written.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    created_at: String,
    /// When it was changed last.
    #[schema(format = DateTime, example = json!(null))]
    updated_at: Option<String>,
}

impl PostResponse {
    fn of(context: &RequestContext, post: PostView) -> Self {
        let media_url = post.media.as_ref().map(|media| media_url(context, media, post.is_private));
        Self::with(post, media_url)
    }

    pub(crate) fn with(post: PostView, media_url: Option<String>) -> Self {
        Self {
            media_url,
            id: post.id.0,
            user_id: post.author.0,
            author_username: post.author_username,
            content: post.content,
            is_private: post.is_private,
            likes_count: post.likes_count,
            comments_count: post.comments_count,
            liked_by_me: post.liked_by_me,
            created_at: format_timestamp(post.created_at),
            updated_at: post.updated_at.map(format_timestamp),
        }
    }
}

/// A page of posts.
#[derive(Serialize, ToSchema)]
pub(crate) struct PostsResponse {
    /// The newest first.
    pub posts: Vec<PostResponse>,
    #[serde(flatten)]
    pub info: PageInfo,
}

/// It is liked, or no longer.
#[derive(Serialize, ToSchema)]
pub(crate) struct LikeResponse {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// What was done.
    #[schema(example = "Post liked successfully")]
    message: &'static str,
    /// How many like it now.
    #[schema(example = 1)]
    likes_count: i64,
}

/// A post to be, or what is to change about one. A post has text, a file, or both.
#[derive(ToSchema)]
#[allow(dead_code)] // read by `Fields`, which names every mistake; this documents them
pub(crate) struct PostForm {
    /// The text.
    #[schema(value_type = String, required = false, max_length = 5000, pattern = "^[^\\x00]*$", example = "Hello, world!")]
    content: Option<String>,
    /// A JPEG, PNG, GIF or WebP image or an MP4 or `WebM` video.
    #[schema(value_type = String, required = false, format = Binary, content_media_type = "application/octet-stream")]
    media: Option<Vec<u8>>,
    /// Whether it is for the author alone.
    #[schema(value_type = bool, required = false, example = false)]
    is_private: Option<bool>,
}

/// The same without a file, as a form, which has no null.
#[derive(ToSchema)]
#[allow(dead_code)] // as above
pub(crate) struct PostFields {
    /// The text.
    #[schema(value_type = String, required = false, max_length = 5000, pattern = "^[^\\x00]*$", example = "Hello, world!")]
    content: Option<String>,
    /// Whether it is for the author alone.
    #[schema(value_type = bool, required = false, example = false)]
    is_private: Option<bool>,
}

/// The same without a file.
#[derive(ToSchema)]
#[allow(dead_code)] // as above
pub(crate) struct PostText {
    /// The text.
    #[schema(max_length = 5000, pattern = "^[^\\x00]*$", example = "Hello, world!")]
    content: Option<String>,
    /// Whether it is for the author alone.
    #[schema(example = false)]
    is_private: Option<bool>,
}

/// What the list is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // read by `Call`; this documents it
pub(crate) struct PostFilter {
    /// Only posts of this user: an id, or `me`. Nothing is nobody in particular.
    #[param(example = "me", pattern = "^(me|\\s*[+-]?[0-9]+\\s*|\\s*)$")]
    user_id: Option<String>,
}

/// What the fields say of a post.
pub(crate) fn draft(fields: &mut Fields, has_file: bool) -> PostDraft {
    let content = fields.optional_text("content").map(|text| PostContent::parse(&text));
    let content = content.and_then(|content| fields.check(content)).flatten();
    let is_private = fields.optional_flag("is_private");
    if !has_file && fields.optional_text("media").is_some_and(|media| !media.is_empty()) {
        fields.not_a_file("media");
    }
    PostDraft { content, media: None, is_private }
}

/// Publishes a post.
#[utoipa::path(
    path = "/posts/",
    tag = "posts",
    security(("access" = [])),
    request_body(content(
        (PostForm = "multipart/form-data"),
        (PostFields = "application/x-www-form-urlencoded"),
        (PostText = "application/json")
    )),
    responses(
        (status = 200, body = PostResponse),
        (status = 400, description = "`empty_post`"),
        (status = 502, description = "`media_upload_failed`: nothing was stored"),
        (status = 507, description = "`storage_full`: nothing was stored")
    )
)]
#[post("/posts")]
pub(crate) async fn create(mut context: RequestContext) -> Result<Json<PostResponse>> {
    let (caller, fields, upload) = context.verified_form().await?;
    let me = caller.user;
    let draft = fields.read(|fields| Some(draft(fields, upload.is_some())))?;
    if draft.content.is_none() && upload.is_none() {
        return Err(domain::Error::EMPTY_POST.into());
    }
    let inspector = context.state.bodies.inspector.clone();
    let post = context
        .run_with_file(upload.is_some(), |services| async move {
            let media = inspect(&inspector, upload.as_ref()).await?;
            services.posts.create(me, PostDraft { media, ..draft }).await
        })
        .await?;
    Ok(Json(PostResponse::of(&context, post)))
}

async fn inspect(
    inspector: &application::media::Inspector,
    upload: Option<&Upload>,
) -> domain::Result<Option<MediaFile>> {
    match upload {
        Some(upload) => inspector.inspect(&upload.path).await.map(Some),
        None => Ok(None),
    }
}

/// All public posts and one's own private ones.
#[utoipa::path(
    path = "/posts/",
    tag = "posts",
    security(("access" = [])),
    params(PostFilter, PageQuery),
    responses((status = 200, body = PostsResponse))
)]
#[get("/posts")]
pub(crate) async fn list(context: RequestContext) -> Result<HttpResponse> {
    let me = context.verified().await?.user;
    let author = match context.parameter("user_id") {
        None => None,
        Some("me") => Some(me),
        Some(id) => Some(UserId(author_id(id)?)),
    };
    let mut paging =
        context.page(List(format!("posts of {}", author.map_or(0, |author| author.0))), PageSize::DEFAULT)?;
    // Of all posts it is known where each page begins.
    paging.is_walked = author.is_some();
    let request = paging.request;
    let page = context.run(|services| async move { services.posts.list(me, author, request).await }).await?;
    context.list_response(&paging, page, |items, info| PostsResponse {
        posts: items.into_iter().map(|post| PostResponse::of(&context, post)).collect(),
        info,
    })
}

fn author_id(text: &str) -> Result<i64> {
    let id = parse_int(text).ok_or_else(|| {
        let message = "Input should be a valid integer or me";
        ApiError::invalid(vec![FieldError::new("query", "user_id", "int_parsing", message)])
    })?;
    Ok(if (1..=MAX_NUMBER).contains(&id) { id } else { -1 })
}

/// A post. Another's private one is not there.
#[utoipa::path(
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "The post")),
    responses((status = 200, body = PostResponse))
)]
#[get("/posts/{post_id}")]
pub(crate) async fn get(context: RequestContext) -> Result<Json<PostResponse>> {
    let me = context.verified().await?.user;
    let id = PostId(context.id("post_id")?);
    let post = context.run(|services| async move { services.posts.get(id, me).await }).await?;
    Ok(Json(PostResponse::of(&context, post)))
}

/// Changes one's own post; what is absent or empty stays.
#[utoipa::path(
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "The post")),
    request_body(content(
        (PostForm = "multipart/form-data"),
        (PostFields = "application/x-www-form-urlencoded"),
        (PostText = "application/json")
    )),
    responses(
        (status = 200, body = PostResponse),
        (status = 502, description = "`media_upload_failed`: nothing was changed"),
        (status = 507, description = "`storage_full`: nothing was changed")
    )
)]
#[put("/posts/{post_id}")]
pub(crate) async fn update(mut context: RequestContext) -> Result<Json<PostResponse>> {
    let (caller, fields, upload) = context.verified_form().await?;
    let me = caller.user;
    let id = PostId(context.id("post_id")?);
    let draft = fields.read(|fields| Some(draft(fields, upload.is_some())))?;
    let inspector = context.state.bodies.inspector.clone();
    let post = context
        .run_with_file(upload.is_some(), |services| async move {
            let media = inspect(&inspector, upload.as_ref()).await?;
            services.posts.update(id, me, PostDraft { media, ..draft }).await
        })
        .await?;
    Ok(Json(PostResponse::of(&context, post)))
}

/// Deletes one's own post with its comments, likes, notifications and file.
#[utoipa::path(
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "The post")),
    responses((status = 200, body = Done))
)]
#[delete("/posts/{post_id}")]
pub(crate) async fn delete(context: RequestContext) -> Result<Json<Done>> {
    let me = context.verified().await?.user;
    let id = PostId(context.id("post_id")?);
    context.run(|services| async move { services.posts.delete(id, me).await }).await?;
    Ok(Done::new("Post deleted successfully"))
}

/// Likes a post and tells its author.
#[utoipa::path(
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "The post")),
    responses((status = 200, body = LikeResponse), (status = 400, description = "`already_liked`"))
)]
#[post("/posts/{post_id}/like")]
pub(crate) async fn like(context: RequestContext) -> Result<Json<LikeResponse>> {
    let me = context.verified().await?.user;
    let id = PostId(context.id("post_id")?);
    let likes_count = context.run(|services| async move { services.posts.like(me, id).await }).await?;
    Ok(Json(LikeResponse { success: true, message: "Post liked successfully", likes_count }))
}

/// Takes a like back, with its notification.
#[utoipa::path(
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "The post")),
    responses((status = 200, body = LikeResponse), (status = 400, description = "`not_liked`"))
)]
#[delete("/posts/{post_id}/like")]
pub(crate) async fn unlike(context: RequestContext) -> Result<Json<LikeResponse>> {
    let me = context.verified().await?.user;
    let id = PostId(context.id("post_id")?);
    let likes_count = context.run(|services| async move { services.posts.unlike(me, id).await }).await?;
    Ok(Json(LikeResponse { success: true, message: "Post unliked successfully", likes_count }))
}
