//! Posts.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse, delete, get, post, put,
    web::{Data, Json},
};
use api_types::format_timestamp;
use application::{Services, posts::PostDraft};
use domain::{
    page::PageSize,
    posts::{PostContent, PostId, PostView},
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{SuccessResponse, media::media_url};
use crate::{
    error::Result,
    pagination::{List, PageInfo, PageParams},
    request::{AuthenticatedUser, Checked, PathId, Query, Upload, UploadBody, UserFilter, request_fields},
    state::AppState,
};

/// A post.
#[derive(Serialize, ToSchema)]
pub(crate) struct PostResponse {
    /// Id of the post.
    #[schema(example = 1)]
    id: i64,
    /// Id of the author.
    #[schema(example = 1)]
    user_id: i64,
    /// Username of the author.
    #[schema(example = "ann")]
    author_username: String,
    /// Text of the post.
    #[schema(required, example = "Hello, world!")]
    content: Option<String>,
    /// URL of the file, which loads without a token. The URL of a private file expires.
    #[schema(required, format = "uri", example = json!(null))]
    media_url: Option<String>,
    /// Whether only the author can see the post.
    #[schema(example = false)]
    is_private: bool,
    /// Number of likes.
    #[schema(example = 0)]
    likes_count: i64,
    /// Number of comments.
    #[schema(example = 0)]
    comments_count: i64,
    /// Whether the caller likes the post.
    #[schema(example = false)]
    liked_by_me: bool,
    /// When the post was created.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    created_at: String,
    /// When the post was last changed.
    #[schema(required, format = DateTime, example = json!(null))]
    updated_at: Option<String>,
}

impl PostResponse {
    fn of(state: &AppState, request: &HttpRequest, post: PostView) -> Self {
        let media_url = post.media.as_ref().map(|media| media_url(state, request, media, post.is_private));
        Self::new(post, media_url)
    }

    pub(crate) fn new(post: PostView, media_url: Option<String>) -> Self {
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
    /// Posts, newest first.
    pub posts: Vec<PostResponse>,
    #[serde(flatten)]
    pub info: PageInfo,
}

request_fields! {
    /// A new post, or the changes to one. A post has text, a file, or both.
    #[derive(ToSchema)]
    pub(crate) struct PostForm {
        /// Text of the post.
        #[schema(value_type = String, required = false, max_length = 5000, pattern = "^[^\\x00]*$", example = "Hello, world!")]
        content: Option<PostContent>,
        /// A JPEG, PNG, GIF or WebP image, or an MP4 or `WebM` video.
        #[schema(value_type = String, required = false, format = Binary, content_media_type = "application/octet-stream")]
        media: Option<Upload>,
        /// Whether only the author can see the post.
        #[schema(value_type = bool, required = false, example = false)]
        is_private: Option<bool>,
    }
}

/// Runs a use case with the post of a form. Its file is deleted when the use case has completed.
async fn run_with_draft<F>(
    state: &AppState,
    form: PostForm,
    use_case: impl FnOnce(Arc<Services>, PostDraft) -> F + Send + 'static,
) -> domain::Result<PostView>
where
    F: Future<Output = domain::Result<PostView>> + Send + 'static,
{
    let PostForm { content, media: upload, is_private } = form;
    let has_upload = upload.is_some();
    let run = |services| async move {
        // The upload is deleted when this block ends.
        let media = upload.as_ref().map(|upload| upload.path.to_path_buf());
        use_case(services, PostDraft { content, media, is_private }).await
    };
    if has_upload { state.run_with_upload(run).await } else { state.run(run).await }
}

request_fields! {
    /// Filters the list of posts.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    pub(crate) struct PostFilter {
        /// Only posts of this user: an id, or `me`. If omitted, returns posts of all users.
        #[param(value_type = Option<String>, example = "me", pattern = "^(me|\\s*[+-]?[0-9]+\\s*|\\s*)$")]
        user_id: Option<UserFilter>,
    }
}

/// Creates a post.
///
/// A body without a file may also be sent as `application/x-www-form-urlencoded` or JSON.
#[utoipa::path(
    operation_id = "createPost",
    path = "/posts/",
    tag = "posts",
    security(("access" = [])),
    request_body(content = PostForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The new post", body = PostResponse),
        (status = 400, description = "`empty_post`: the post has neither text nor a file"),
        (status = 502, description = "`media_upload_failed`: nothing was stored"),
        (status = 507, description = "`storage_full`: nothing was stored")
    )
)]
#[post("/posts")]
pub(crate) async fn create(
    Checked((caller, form)): Checked<(AuthenticatedUser, UploadBody<PostForm>)>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<PostResponse>> {
    let post = run_with_draft(&state, form, move |services, draft| async move {
        services.posts.create(caller.user, draft).await
    })
    .await?;
    Ok(Json(PostResponse::of(&state, &request, post)))
}

/// Lists all public posts and the caller's own private ones.
#[utoipa::path(
    operation_id = "listPosts",
    path = "/posts/",
    tag = "posts",
    security(("access" = [])),
    params(PostFilter, PageParams),
    responses((status = 200, description = "A page of posts", body = PostsResponse))
)]
#[get("/posts")]
pub(crate) async fn list(
    Checked((caller, filter, params)): Checked<(AuthenticatedUser, Query<PostFilter>, Query<PageParams>)>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse> {
    let author = filter.user_id.map(|user| match user {
        UserFilter::Me => caller.user,
        UserFilter::Id(user) => user,
    });
    let list = List(format!("posts of {}", author.map_or(0, |author| author.0)));
    let mut paging = params.paging(&state.cursors, list, PageSize::DEFAULT)?;
    // The feed index knows where each page of all posts begins.
    paging.has_depth_limit = author.is_some();
    let page = state
        .run(|services| async move { services.posts.list(caller.user, author, paging.request).await })
        .await?;
    paging.respond(&state.cursors, &request, page, |items, info| PostsResponse {
        posts: items.into_iter().map(|post| PostResponse::of(&state, &request, post)).collect(),
        info,
    })
}

/// Returns a post.
#[utoipa::path(
    operation_id = "getPost",
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "Id of the post")),
    responses((status = 200, description = "The post", body = PostResponse))
)]
#[get("/posts/{post_id}")]
pub(crate) async fn get(
    Checked((caller, id)): Checked<(AuthenticatedUser, PathId<PostId>)>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<PostResponse>> {
    let post = state.run(|services| async move { services.posts.get(id, caller.user).await }).await?;
    Ok(Json(PostResponse::of(&state, &request, post)))
}

/// Changes one of the caller's posts.
///
/// Absent and empty fields keep their values. A body without a file may also be sent as
/// `application/x-www-form-urlencoded` or JSON.
#[utoipa::path(
    operation_id = "updatePost",
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "Id of the post")),
    request_body(content = PostForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The changed post", body = PostResponse),
        (status = 403, description = "`not_post_owner`, `not_verified` or `inactive_user`"),
        (status = 502, description = "`media_upload_failed`: nothing was changed"),
        (status = 507, description = "`storage_full`: nothing was changed")
    )
)]
#[put("/posts/{post_id}")]
pub(crate) async fn update(
    Checked((caller, id, form)): Checked<(AuthenticatedUser, PathId<PostId>, UploadBody<PostForm>)>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<PostResponse>> {
    let post = run_with_draft(&state, form, move |services, draft| async move {
        services.posts.update(id, caller.user, draft).await
    })
    .await?;
    Ok(Json(PostResponse::of(&state, &request, post)))
}

/// Deletes one of the caller's posts with its comments, likes, notifications and file.
#[utoipa::path(
    operation_id = "deletePost",
    tag = "posts",
    security(("access" = [])),
    params(("post_id" = i64, Path, description = "Id of the post")),
    responses(
        (status = 200, description = "The post is deleted", body = SuccessResponse),
        (status = 403, description = "`not_post_owner`, `not_verified` or `inactive_user`")
    )
)]
#[delete("/posts/{post_id}")]
pub(crate) async fn delete(
    Checked((caller, id)): Checked<(AuthenticatedUser, PathId<PostId>)>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.posts.delete(id, caller.user).await }).await?;
    Ok(SuccessResponse::new("Post deleted successfully"))
}
