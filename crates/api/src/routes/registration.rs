//! Registration and verification of the email address.

use actix_web::{
    HttpRequest, post,
    web::{Data, Json},
};
use application::rate_limit::RateLimitClass;
use domain::{
    passwords::NewPassword,
    users::{Email, Username},
};
use utoipa::ToSchema;

use super::{SuccessResponse, login::TokenPairResponse};
use crate::{
    error::Result,
    request::{Checked, JsonBody, address_of, rate_limit, request_fields, user_agent},
    state::AppState,
};

request_fields! {
    /// A new account.
    #[derive(ToSchema)]
    pub(crate) struct RegisterRequest {
        /// Letters, digits and underscores. Unique regardless of case. Some names are reserved.
        #[schema(value_type = String, min_length = 3, max_length = 50, pattern = "^[A-Za-z0-9_]+$", example = "ann")]
        username: Username,
        /// Email address. Unique regardless of case.
        #[schema(value_type = String, format = Email, max_length = 254, example = "ann@example.com")]
        email: Email,
        /// Any characters.
        #[schema(value_type = String, format = Password, min_length = 8, max_length = 128, example = "correct horse")]
        password: NewPassword,
    }
}

/// Registers an account and mails a verification code.
///
/// Registering again sends a new code. An address receives at most one mail a minute and a few an hour: later mails are
/// delayed or not sent.
#[utoipa::path(
    tag = "users",
    request_body = RegisterRequest,
    responses(
        (status = 200, description = "The code is sent", body = SuccessResponse),
        (status = 400, description = "`email_taken`, `username_taken` or `password_too_short`")
    )
)]
#[post("/users/register")]
pub(crate) async fn register(
    Checked(body): Checked<JsonBody<RegisterRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    rate_limit::enforce_by_name(&state, &request, RateLimitClass::Mail, Some(body.email.as_str())).await?;
    let address = address_of(&request);
    state
        .run(|services| async move {
            services.accounts.register(body.username, body.email, body.password, address).await
        })
        .await?;
    Ok(SuccessResponse::new("OTP sent to your email"))
}

request_fields! {
    /// A verification code.
    #[derive(ToSchema)]
    pub(crate) struct VerifyRequest {
        /// The address that received the code.
        #[schema(value_type = String, format = Email, max_length = 254, example = "ann@example.com")]
        email: Email,
        /// The six digits of the code.
        #[schema(example = "123456")]
        otp: String,
    }
}

/// Verifies an email address by the mailed code, and logs in.
#[utoipa::path(
    tag = "users",
    request_body = VerifyRequest,
    responses(
        (status = 200, description = "The address is verified", body = TokenPairResponse),
        (status = 400, description = "`invalid_otp`, `expired_otp` or `username_taken`")
    )
)]
#[post("/users/verify-otp")]
pub(crate) async fn verify_otp(
    Checked(body): Checked<JsonBody<VerifyRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<TokenPairResponse>> {
    rate_limit::enforce_by_name(&state, &request, RateLimitClass::Auth, Some(body.email.as_str())).await?;
    let client = user_agent(&request);
    let pair = state
        .run(|services| async move { services.accounts.verify_otp(body.email, body.otp, client).await })
        .await?;
    Ok(Json(pair.into()))
}
