//! Login, refreshing of tokens, and logout.

use actix_web::{
    HttpRequest, get, post,
    web::{Data, Json},
};
use application::{
    rate_limit::RateLimitClass,
    tokens::{RefreshToken, TokenPair},
};
use domain::{Error, users::normalize_login};
use serde::Serialize;
use utoipa::ToSchema;

use super::{NoStore, SuccessResponse};
use crate::{
    error::Result,
    request::{
        AuthenticatedUser, Checked, FormBody, OptionalJsonBody, address_of, bearer, rate_limit,
        request_fields, user_agent,
    },
    state::AppState,
};

/// Tokens of a session.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPairResponse {
    /// Authenticates requests: `Authorization: Bearer <access_token>`.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
    access_token: String,
    /// Exchanges once for the next pair.
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

request_fields! {
    /// The form of OAuth 2.0's password grant.
    #[derive(ToSchema)]
    pub(crate) struct LoginRequest {
        /// Username or email address.
        #[schema(example = "ann")]
        username: String,
        /// Password. Existing passwords may predate the current rules.
        #[schema(format = Password, example = "correct horse")]
        password: String,
    }
}

/// Logs in by username or email address.
///
/// The other parameters of OAuth 2.0's password grant (`grant_type`, `scope`, `client_id`, `client_secret`) are accepted
/// and ignored. The body may also be sent as `multipart/form-data` or JSON.
#[utoipa::path(
    operation_id = "login",
    tag = "accounts",
    request_body(content = LoginRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The tokens of a new session", body = TokenPairResponse),
        (status = 400, description = "`bad_credentials`"),
        (status = 403, description = "`not_verified` or `inactive_user`, after a correct password only")
    )
)]
#[post("/users/login")]
pub(crate) async fn login(
    Checked(body): Checked<FormBody<LoginRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<NoStore<TokenPairResponse>> {
    let name = normalize_login(&body.username);
    rate_limit::enforce_by_name(&state, &request, RateLimitClass::Auth, Some(&name)).await?;
    let client = user_agent(&request);
    let pair = state
        .run_for(address_of(&request), |services, requester| async move {
            services.accounts.login(body.username, body.password, client, &requester).await
        })
        .await?;
    Ok(NoStore(pair.into()))
}

/// Exchanges the refresh token, sent as the bearer token, for a new pair.
#[utoipa::path(
    operation_id = "refreshTokens",
    tag = "accounts",
    security(("refresh" = [])),
    responses((status = 200, description = "The new pair", body = TokenPairResponse))
)]
#[get("/users/refresh")]
pub(crate) async fn refresh(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<NoStore<TokenPairResponse>> {
    exchange(&request, &state, None).await
}

request_fields! {
    /// A refresh token.
    #[derive(ToSchema)]
    pub(crate) struct RefreshRequest {
        /// The refresh token. If absent or null, the bearer token is used.
        #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
        refresh_token: Option<String>,
    }
}

/// Exchanges the refresh token, sent in the body or as the bearer token, for a new pair.
#[utoipa::path(
    operation_id = "refreshTokensByBody",
    tag = "accounts",
    security(("refresh" = []), ()),
    request_body = Option<RefreshRequest>,
    responses(
        (status = 200, description = "The new pair", body = TokenPairResponse),
        (status = 401, description = "`invalid_token` or `not_authenticated`")
    )
)]
#[post("/users/refresh")]
pub(crate) async fn refresh_by_body(
    Checked(body): Checked<OptionalJsonBody<RefreshRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<NoStore<TokenPairResponse>> {
    exchange(&request, &state, body.and_then(|body| body.refresh_token)).await
}

async fn exchange(
    request: &HttpRequest,
    state: &AppState,
    token: Option<String>,
) -> Result<NoStore<TokenPairResponse>> {
    let token = token.or_else(|| bearer(request.headers()).map(str::to_owned));
    let token = RefreshToken(token.ok_or(Error::NOT_AUTHENTICATED)?);
    let pair = state.run(|services| async move { services.accounts.refresh(token).await }).await?;
    Ok(NoStore(pair.into()))
}

/// Ends the session of the access token and revokes its refresh tokens.
#[utoipa::path(
    operation_id = "logout",
    tag = "accounts",
    security(("access" = [])),
    responses((status = 200, description = "The session has ended", body = SuccessResponse))
)]
#[post("/users/logout")]
pub(crate) async fn logout(
    Checked(caller): Checked<AuthenticatedUser>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.accounts.logout(caller).await }).await?;
    Ok(SuccessResponse::new("Logged out successfully"))
}
