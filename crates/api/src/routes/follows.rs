//! Follows between users.

use actix_web::{
    HttpRequest, HttpResponse, delete, get, post,
    web::{Data, Json},
};
use domain::{page::PageSize, users::UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{SuccessResponse, users::UserResponse};
use crate::{
    error::Result,
    pagination::{List, PageInfo, PageParams},
    request::{AuthenticatedUser, Checked, PathId, Query},
    state::AppState,
};

/// A page of a user's followers.
#[derive(Serialize, ToSchema)]
pub(crate) struct FollowersResponse {
    /// Number of followers in total.
    #[schema(example = 1)]
    count: i64,
    /// Followers, newest first.
    followers: Vec<UserResponse>,
    #[serde(flatten)]
    info: PageInfo,
}

/// A page of the users that a user follows.
#[derive(Serialize, ToSchema)]
pub(crate) struct FollowingResponse {
    /// Number of followed users in total.
    #[schema(example = 1)]
    count: i64,
    /// Followed users, newest first.
    following: Vec<UserResponse>,
    #[serde(flatten)]
    info: PageInfo,
}

/// Follows a user.
#[utoipa::path(
    operation_id = "followUser",
    tag = "people",
    security(("access" = [])),
    params(("user_id" = i64, Path, description = "Id of the user")),
    responses(
        (status = 200, description = "The caller follows the user", body = SuccessResponse),
        (status = 400, description = "`self_follow` or `already_following`")
    )
)]
#[post("/users/{user_id}/follow")]
pub(crate) async fn follow(
    Checked((caller, user)): Checked<(AuthenticatedUser, PathId<UserId>)>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.follows.follow(caller.user, user).await }).await?;
    Ok(SuccessResponse::new("User followed successfully"))
}

/// Unfollows a user.
#[utoipa::path(
    operation_id = "unfollowUser",
    tag = "people",
    security(("access" = [])),
    params(("user_id" = i64, Path, description = "Id of the user")),
    responses(
        (status = 200, description = "The follow is removed", body = SuccessResponse),
        (status = 400, description = "`not_following`")
    )
)]
#[delete("/users/{user_id}/unfollow")]
pub(crate) async fn unfollow(
    Checked((caller, user)): Checked<(AuthenticatedUser, PathId<UserId>)>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.follows.unfollow(caller.user, user).await }).await?;
    Ok(SuccessResponse::new("User unfollowed successfully"))
}

/// Lists a user's followers.
#[utoipa::path(
    operation_id = "listFollowers",
    tag = "people",
    params(("user_id" = i64, Path, description = "Id of the user"), PageParams),
    responses((status = 200, description = "A page of followers", body = FollowersResponse))
)]
#[get("/users/{user_id}/followers")]
pub(crate) async fn followers(
    Checked((user, params)): Checked<(PathId<UserId>, Query<PageParams>)>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse> {
    let paging = params.paging(&state.cursors, List(format!("followers of {}", user.0)), PageSize::MAX)?;
    let page = state
        .run(|services| async move { services.follows.list_followers(user, paging.request).await })
        .await?;
    paging.respond(&state.cursors, &request, page, |items, info| FollowersResponse {
        count: info.total,
        followers: items.into_iter().map(Into::into).collect(),
        info,
    })
}

/// Lists the users that a user follows.
#[utoipa::path(
    operation_id = "listFollowing",
    tag = "people",
    params(("user_id" = i64, Path, description = "Id of the user"), PageParams),
    responses((status = 200, description = "A page of followed users", body = FollowingResponse))
)]
#[get("/users/{user_id}/following")]
pub(crate) async fn following(
    Checked((user, params)): Checked<(PathId<UserId>, Query<PageParams>)>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse> {
    let paging = params.paging(&state.cursors, List(format!("following of {}", user.0)), PageSize::MAX)?;
    let page = state
        .run(|services| async move { services.follows.list_following(user, paging.request).await })
        .await?;
    paging.respond(&state.cursors, &request, page, |items, info| FollowingResponse {
        count: info.total,
        following: items.into_iter().map(Into::into).collect(),
        info,
    })
}
