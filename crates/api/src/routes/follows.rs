//! Who follows whom.

use actix_web::{HttpResponse, delete, get, post, web::Json};
use domain::{page::PageSize, users::UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Done, users::UserResponse};
use crate::{
    error::Result,
    pagination::{List, PageInfo, PageQuery},
    request::context::RequestContext,
};

/// A page of those who follow a user.
#[derive(Serialize, ToSchema)]
pub(crate) struct FollowersResponse {
    /// How many there are in all.
    #[schema(example = 1)]
    count: i64,
    /// The newest first.
    followers: Vec<UserResponse>,
    #[serde(flatten)]
    info: PageInfo,
}

/// A page of those whom a user follows.
#[derive(Serialize, ToSchema)]
pub(crate) struct FollowingResponse {
    /// How many there are in all.
    #[schema(example = 1)]
    count: i64,
    /// The newest first.
    following: Vec<UserResponse>,
    #[serde(flatten)]
    info: PageInfo,
}

/// Follows a user and tells them.
#[utoipa::path(
    tag = "follows",
    security(("access" = [])),
    params(("user_id" = i64, Path, description = "Whom")),
    responses((status = 200, body = Done), (status = 400, description = "`self_follow` or `already_following`"))
)]
#[post("/users/{user_id}/follow")]
pub(crate) async fn follow(context: RequestContext) -> Result<Json<Done>> {
    let me = context.verified().await?.user;
    let user = UserId(context.id("user_id")?);
    context.run(|services| async move { services.follows.follow(me, user).await }).await?;
    Ok(Done::new("User followed successfully"))
}

/// Follows a user no longer.
#[utoipa::path(
    tag = "follows",
    security(("access" = [])),
    params(("user_id" = i64, Path, description = "Whom")),
    responses((status = 200, body = Done), (status = 400, description = "`not_following`"))
)]
#[delete("/users/{user_id}/unfollow")]
pub(crate) async fn unfollow(context: RequestContext) -> Result<Json<Done>> {
    let me = context.verified().await?.user;
    let user = UserId(context.id("user_id")?);
    context.run(|services| async move { services.follows.unfollow(me, user).await }).await?;
    Ok(Done::new("User unfollowed successfully"))
}

/// Those who follow a user.
#[utoipa::path(
    tag = "follows",
    params(("user_id" = i64, Path, description = "Whose"), PageQuery),
    responses((status = 200, body = FollowersResponse))
)]
#[get("/users/{user_id}/followers")]
pub(crate) async fn followers(context: RequestContext) -> Result<HttpResponse> {
    let id = context.id("user_id")?;
    let paging = context.page(List(format!("followers of {id}")), PageSize::MAX)?;
    let request = paging.request;
    let page = context
        .run(|services| async move { services.follows.list_followers(UserId(id), request).await })
        .await?;
    context.list_response(&paging, page, |items, info| FollowersResponse {
        count: info.total,
        followers: items.into_iter().map(Into::into).collect(),
        info,
    })
}

/// Those whom a user follows.
#[utoipa::path(
    tag = "follows",
    params(("user_id" = i64, Path, description = "Whose"), PageQuery),
    responses((status = 200, body = FollowingResponse))
)]
#[get("/users/{user_id}/following")]
pub(crate) async fn following(context: RequestContext) -> Result<HttpResponse> {
    let id = context.id("user_id")?;
    let paging = context.page(List(format!("following of {id}")), PageSize::MAX)?;
    let request = paging.request;
    let page = context
        .run(|services| async move { services.follows.list_following(UserId(id), request).await })
        .await?;
    context.list_response(&paging, page, |items, info| FollowingResponse {
        count: info.total,
        following: items.into_iter().map(Into::into).collect(),
        info,
    })
}
