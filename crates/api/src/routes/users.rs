//! The caller's account, and how users appear to each other.

use actix_web::{get, web::Data};
use api_types::format_timestamp;
use domain::users::{Profile, UserSummary};
use serde::Serialize;
use utoipa::ToSchema;

use super::NoStore;
use crate::{
    error::Result,
    request::{AuthenticatedUser, Checked},
    state::AppState,
};

/// A user as others see them.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserResponse {
    /// Id of the user.
    #[schema(example = 2)]
    id: i64,
    /// Username.
    #[schema(example = "bob")]
    username: String,
}

impl From<UserSummary> for UserResponse {
    fn from(user: UserSummary) -> Self {
        Self { id: user.id.0, username: user.username }
    }
}

/// The caller's account.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileResponse {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// Id of the user.
    #[schema(example = 1)]
    id: i64,
    /// Username.
    #[schema(example = "ann")]
    username: String,
    /// Email address.
    #[schema(example = "ann@example.com")]
    email: String,
    /// Number of posts, including private ones.
    #[schema(example = 3)]
    posts_count: i64,
    /// Number of followers.
    #[schema(example = 1)]
    followers_count: i64,
    /// Number of followed users.
    #[schema(example = 0)]
    following_count: i64,
    /// The newest followers, at most 100.
    followers: Vec<UserResponse>,
    /// The users followed most recently, at most 100.
    following: Vec<UserResponse>,
    /// When the account was created.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    created_at: String,
}

impl From<Profile> for ProfileResponse {
    fn from(profile: Profile) -> Self {
        let users = |users: Vec<UserSummary>| users.into_iter().map(Into::into).collect();
        Self {
            success: true,
            id: profile.id.0,
            username: profile.username,
            email: profile.email.as_str().to_owned(),
            posts_count: profile.posts_count,
            followers_count: profile.followers_count,
            following_count: profile.following_count,
            followers: users(profile.followers),
            following: users(profile.following),
            created_at: format_timestamp(profile.created_at),
        }
    }
}

/// Returns the caller's account.
#[utoipa::path(
    operation_id = "getCurrentUser",
    tag = "accounts",
    security(("access" = [])),
    responses((status = 200, description = "The account", body = ProfileResponse))
)]
#[get("/users/me")]
pub(crate) async fn me(
    Checked(caller): Checked<AuthenticatedUser>,
    state: Data<AppState>,
) -> Result<NoStore<ProfileResponse>> {
    let profile = state.run(|services| async move { services.accounts.profile(caller.user).await }).await?;
    Ok(NoStore(profile.into()))
}
