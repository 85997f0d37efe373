//! Accounts.

use actix_web::{get, post, web::Json};
use application::{
    rate_limit::RateLimitClass,
    tokens::{RefreshToken, TokenPair},
};
use domain::{
    Error,
    users::{Profile, UserSummary},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Done;
use crate::{error::Result, request::context::RequestContext, request::fields::Fields};

/// What one logs in with from now on.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPairResponse {
    /// For every request: `Authorization: Bearer <access_token>`.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
    access_token: String,
    /// For the next pair, once.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
    refresh_token: String,
    /// Always `bearer`.
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 1800)]
    expires_in: i64,
}

impl From<TokenPair> for TokenPairResponse {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access,
            refresh_token: pair.refresh,
            token_type: "bearer",
            expires_in: pair.expires_in,
        }
    }
}

/// A user as others see them.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserResponse {
    /// The user.
    #[schema(example = 2)]
    id: i64,
    /// Their name.
    #[schema(example = "bob")]
    username: String,
}

impl From<UserSummary> for UserResponse {
    fn from(user: UserSummary) -> Self {
        Self { id: user.id.0, username: user.username }
    }
}

/// One's own account.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileResponse {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// The user.
    #[schema(example = 1)]
    id: i64,
    /// Their name.
    #[schema(example = "ann")]
    username: String,
    /// Their address.
    #[schema(example = "ann@example.com")]
    email: String,
    /// How many posts they have, private ones included.
    #[schema(example = 3)]
    posts_count: i64,
    /// How many follow them.
    #[schema(example = 1)]
    followers_count: i64,
    /// How many they follow.
    #[schema(example = 0)]
    following_count: i64,
    /// The newest of their followers, 100 at most.
    followers: Vec<UserResponse>,
    /// The newest of those they follow, 100 at most.
    following: Vec<UserResponse>,
    /// When they joined.
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
            created_at: api_types::format_timestamp(profile.created_at),
        }
    }
}

/// Who wants to join.
#[derive(ToSchema)]
#[allow(dead_code)] // read by `Fields`, which names every mistake; this documents them
pub(crate) struct RegisterRequest {
    /// Letters, digits and underscores; unique without regard to case; some names are reserved.
    #[schema(min_length = 3, max_length = 50, pattern = "^[A-Za-z0-9_]+$", example = "ann")]
    username: String,
    /// Unique without regard to case.
    #[schema(format = Email, max_length = 254, example = "ann@example.com")]
    email: String,
    /// Any characters.
    #[schema(format = Password, min_length = 8, max_length = 128, example = "correct horse")]
    password: String,
}

/// Registers; a code goes out by mail. Doing it again sends a new code, to one address not more often than once a
/// minute and a few times an hour: a later one waits for its turn, or is not sent.
#[utoipa::path(
    tag = "users",
    request_body = RegisterRequest,
    responses((status = 200, body = Done), (status = 400, description = "`email_taken`, `username_taken` or `password_too_short`"))
)]
#[post("/users/register")]
pub(crate) async fn register(mut context: RequestContext) -> Result<Json<Done>> {
    let (username, email, password) = context.json().await?.read(|fields| {
        let (username, email, password) =
            (fields.username(), fields.email(), fields.new_password("password"));
        Some((username?, email?, password?))
    })?;
    context.limit(RateLimitClass::Mail, Some(email.as_str())).await?;
    let from = context.address();
    context
        .run(|services| async move { services.accounts.register(username, email, password, from).await })
        .await?;
    Ok(Done::new("OTP sent to your email"))
}

/// A code that was mailed.
#[derive(ToSchema)]
#[allow(dead_code)] // as above
pub(crate) struct VerifyRequest {
    /// The address that it was sent to.
    #[schema(format = Email, max_length = 254, example = "ann@example.com")]
    email: String,
    /// The six digits.
    #[schema(example = "123456")]
    otp: String,
}

/// Verifies an address by the code that was mailed, and logs in.
#[utoipa::path(
    tag = "users",
    request_body = VerifyRequest,
    responses((status = 200, body = TokenPairResponse), (status = 400, description = "`invalid_otp`, `expired_otp` or `username_taken`"))
)]
#[post("/users/verify-otp")]
pub(crate) async fn verify_otp(mut context: RequestContext) -> Result<Json<TokenPairResponse>> {
    let (email, otp) = context.json().await?.read(|fields| {
        let (email, otp) = (fields.email(), fields.text("otp"));
        Some((email?, otp?))
    })?;
    context.limit(RateLimitClass::Auth, Some(email.as_str())).await?;
    let client = context.client();
    let pair =
        context.run(|services| async move { services.accounts.verify_otp(email, otp, client).await }).await?;
    Ok(Json(pair.into()))
}

/// Who logs in (the form of OAuth 2.0's password grant).
#[derive(ToSchema)]
#[allow(dead_code)] // as above
pub(crate) struct LoginRequest {
    /// The name or the e-mail address.
    #[schema(example = "ann")]
    username: String,
    /// The password.
    #[schema(format = Password, example = "correct horse")]
    password: String,
    /// `password`, or nothing.
    grant_type: Option<String>,
    /// Of no account.
    scope: Option<String>,
    /// Of no account.
    client_id: Option<String>,
    /// Of no account.
    client_secret: Option<String>,
}

/// Logs in by name or address.
#[utoipa::path(
    tag = "users",
    request_body(content(
        (LoginRequest = "application/x-www-form-urlencoded"),
        (LoginRequest = "multipart/form-data"),
        (LoginRequest = "application/json")
    )),
    responses(
        (status = 200, body = TokenPairResponse),
        (status = 400, description = "`bad_credentials`"),
        (status = 403, description = "`not_verified` or `inactive_user`, after a right password only")
    )
)]
#[post("/users/login")]
pub(crate) async fn login(mut context: RequestContext) -> Result<Json<TokenPairResponse>> {
    let (username, password) = context.form().await?.read(|fields| {
        let (username, password) = (fields.text("username"), fields.text("password"));
        Some((username?, password?))
    })?;
    context.limit(RateLimitClass::Auth, Some(&username)).await?;
    let client = context.client();
    let pair = context
        .run(|services| async move { services.accounts.login(username, password, client).await })
        .await?;
    Ok(Json(pair.into()))
}

/// Exchanges the refresh token, which is the bearer here, for a new pair, once.
#[utoipa::path(tag = "users", security(("refresh" = [])), responses((status = 200, body = TokenPairResponse)))]
#[get("/users/refresh")]
pub(crate) async fn refresh(context: RequestContext) -> Result<Json<TokenPairResponse>> {
    exchange(&context, None).await
}

/// A refresh token.
#[derive(ToSchema)]
#[allow(dead_code)] // as above
pub(crate) struct RefreshRequest {
    /// The refresh token; the bearer is it if this is absent or null.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
    refresh_token: Option<String>,
}

/// The same, with the refresh token in the body or as the bearer.
#[utoipa::path(
    tag = "users",
    security(("refresh" = []), ()),
    request_body = Option<RefreshRequest>,
    responses((status = 200, body = TokenPairResponse), (status = 401, description = "`invalid_token` or `not_authenticated`"))
)]
#[post("/users/refresh")]
pub(crate) async fn refresh_by_body(mut context: RequestContext) -> Result<Json<TokenPairResponse>> {
    let token = match context.optional_json().await? {
        Some(fields) => fields.read(|fields| Some(fields.optional_text("refresh_token")))?,
        None => None,
    };
    exchange(&context, token).await
}

async fn exchange(context: &RequestContext, token: Option<String>) -> Result<Json<TokenPairResponse>> {
    let token =
        RefreshToken(token.or_else(|| context.bearer().map(str::to_owned)).ok_or(Error::NOT_AUTHENTICATED)?);
    let pair = context.run(|services| async move { services.accounts.refresh(token).await }).await?;
    Ok(Json(pair.into()))
}

/// Ends the session of this access token, with its refresh tokens.
#[utoipa::path(tag = "users", security(("access" = [])), responses((status = 200, body = Done)))]
#[post("/users/logout")]
pub(crate) async fn logout(context: RequestContext) -> Result<Json<Done>> {
    let caller = context.verified().await?;
    context.run(|services| async move { services.accounts.logout(caller).await }).await?;
    Ok(Done::new("Logged out successfully"))
}

/// The old password and the new.
#[derive(ToSchema)]
#[allow(dead_code)] // as above
pub(crate) struct ChangePasswordRequest {
    /// The password so far.
    #[schema(format = Password, example = "correct horse")]
    current_password: String,
    /// The password to be.
    #[schema(format = Password, min_length = 8, max_length = 128, example = "battery staple")]
    new_password: String,
}

/// Changes the password, and ends all other sessions.
#[utoipa::path(
    tag = "users",
    security(("access" = [])),
    request_body = ChangePasswordRequest,
    responses((status = 200, body = Done), (status = 400, description = "`wrong_password` or `password_too_short`"))
)]
#[post("/users/change-password")]
pub(crate) async fn change_password(mut context: RequestContext) -> Result<Json<Done>> {
    let fields = context.json().await?;
    let caller = context.verified().await?;
    context.limit_caller(RateLimitClass::Auth, caller).await?;
    let (current, new) = fields.read(|fields| {
        let (current, new) = (fields.text("current_password"), fields.new_password("new_password"));
        Some((current?, new?))
    })?;
    context
        .run(|services| async move { services.accounts.change_password(caller, current, new).await })
        .await?;
    Ok(Done::new("Password Changed Successfully"))
}

/// Whose password is forgotten.
#[derive(ToSchema)]
#[allow(dead_code)] // as above
pub(crate) struct ForgotPasswordRequest {
    /// The address of the account.
    #[schema(format = Email, max_length = 254, example = "ann@example.com")]
    email: String,
}

/// Outbox a reset link to whoever has this address; the answer is the same if nobody has. To one address goes not more
/// than one mail a minute and a few an hour.
#[utoipa::path(tag = "users", request_body = ForgotPasswordRequest, responses((status = 200, body = Done)))]
#[post("/users/forgot-password")]
pub(crate) async fn forgot_password(mut context: RequestContext) -> Result<Json<Done>> {
    let email = context.json().await?.read(Fields::email)?;
    context.limit(RateLimitClass::Mail, Some(email.as_str())).await?;
    let from = context.address();
    context.run(|services| async move { services.accounts.forgot_password(email, from).await }).await?;
    Ok(Done::new("Password reset link sent to your email"))
}

/// The token of a reset link, and the new password.
#[derive(ToSchema)]
#[allow(dead_code)] // as above
pub(crate) struct ResetPasswordRequest {
    /// The parameter `token` of the link.
    #[schema(example = "Zm9vYmFy")]
    token: String,
    /// The password to be.
    #[schema(format = Password, min_length = 8, max_length = 128, example = "battery staple")]
    new_password: String,
}

/// Sets a new password by a link that was mailed, and ends all sessions.
#[utoipa::path(
    tag = "users",
    request_body = ResetPasswordRequest,
    responses((status = 200, body = Done), (status = 400, description = "`invalid_reset_token` or `password_too_short`"))
)]
#[post("/users/reset-password")]
pub(crate) async fn reset_password(mut context: RequestContext) -> Result<Json<Done>> {
    let (token, new) = context.json().await?.read(|fields| {
        let (token, new) = (fields.text("token"), fields.new_password("new_password"));
        Some((token?, new?))
    })?;
    context.limit(RateLimitClass::Auth, None).await?;
    context.run(|services| async move { services.accounts.reset_password(token, new).await }).await?;
    Ok(Done::new("Password reset successfully"))
}

/// One's own account.
#[utoipa::path(tag = "users", security(("access" = [])), responses((status = 200, body = ProfileResponse)))]
#[get("/users/me")]
pub(crate) async fn me(context: RequestContext) -> Result<Json<ProfileResponse>> {
    let user = context.verified().await?.user;
    let profile = context.run(|services| async move { services.accounts.profile(user).await }).await?;
    Ok(Json(profile.into()))
}
