//! Who follows whom.

use actix_web::{HttpResponse, delete, get, post, web::Json};
use domain::{page::PageSize, users::UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Done, users::UserResponse};
use crate::{
    call::Call,
    error::Result,
    pages::{self, List, PageInfo, PageQuery},
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
pub(crate) async fn follow(call: Call) -> Result<Json<Done>> {
    let me = call.verified().await?.user;
    let user = UserId(call.id("user_id")?);
    call.run(|services| async move { services.follows.follow(me, user).await }).await?;
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
pub(crate) async fn unfollow(call: Call) -> Result<Json<Done>> {
    let me = call.verified().await?.user;
    let user = UserId(call.id("user_id")?);
    call.run(|services| async move { services.follows.unfollow(me, user).await }).await?;
    Ok(Done::new("User unfollowed successfully"))
}

/// Those who follow a user.
#[utoipa::path(
    tag = "follows",
    params(("user_id" = i64, Path, description = "Whose"), PageQuery),
    responses((status = 200, body = FollowersResponse))
)]
#[get("/users/{user_id}/followers")]
pub(crate) async fn followers(call: Call) -> Result<HttpResponse> {
    let id = call.id("user_id")?;
    let paging = call.page(List(format!("followers of {id}")), PageSize::MAX)?;
    let request = paging.request;
    let page =
        call.run(|services| async move { services.follows.followers(UserId(id), request).await }).await?;
    pages::answer(&call, &paging, page, |items, info| FollowersResponse {
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
pub(crate) async fn following(call: Call) -> Result<HttpResponse> {
    let id = call.id("user_id")?;
    let paging = call.page(List(format!("following of {id}")), PageSize::MAX)?;
    let request = paging.request;
    let page =
        call.run(|services| async move { services.follows.following(UserId(id), request).await }).await?;
    pages::answer(&call, &paging, page, |items, info| FollowingResponse {
        count: info.total,
        following: items.into_iter().map(Into::into).collect(),
        info,
    })
}
