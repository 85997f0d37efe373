//! Registration and verification of the email address.

use actix_web::{post, web::Json};
use application::rate_limit::RateLimitClass;
use domain::{
    passwords::NewPassword,
    users::{Email, Username},
};
use utoipa::ToSchema;

use super::{SuccessResponse, login::TokenPairResponse};
use crate::{
    error::Result,
    request::{checked::Checked, context::RequestContext, fields::request_fields, inputs::JsonBody},
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
    Checked(request): Checked<JsonBody<RegisterRequest>>,
    context: RequestContext,
) -> Result<Json<SuccessResponse>> {
    context.limit_by_name(RateLimitClass::Mail, Some(request.email.as_str())).await?;
    let address = context.address();
    context
        .state
        .run(|services| async move {
            services.accounts.register(request.username, request.email, request.password, address).await
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
    Checked(request): Checked<JsonBody<VerifyRequest>>,
    context: RequestContext,
) -> Result<Json<TokenPairResponse>> {
    context.limit_by_name(RateLimitClass::Auth, Some(request.email.as_str())).await?;
    let client = context.user_agent();
    let pair = context
        .state
        .run(|services| async move { services.accounts.verify_otp(request.email, request.otp, client).await })
        .await?;
    Ok(Json(pair.into()))
}
