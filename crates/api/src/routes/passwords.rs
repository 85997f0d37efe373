//! Changing and resetting passwords.

use actix_web::{post, web::Json};
use application::rate_limit::RateLimitClass;
use domain::{passwords::NewPassword, users::Email};
use utoipa::ToSchema;

use super::SuccessResponse;
use crate::{
    error::Result,
    request::{
        checked::Checked,
        context::RequestContext,
        fields::request_fields,
        inputs::{AuthenticatedUser, JsonBody},
    },
};

request_fields! {
    /// The current and the new password.
    #[derive(ToSchema)]
    pub(crate) struct ChangePasswordRequest {
        /// The current password.
        #[schema(format = Password, example = "correct horse")]
        current_password: String,
        /// The new password.
        #[schema(value_type = String, format = Password, min_length = 8, max_length = 128, example = "battery staple")]
        new_password: NewPassword,
    }
}

/// Changes the caller's password and ends all other sessions.
#[utoipa::path(
    tag = "users",
    security(("access" = [])),
    request_body = ChangePasswordRequest,
    responses(
        (status = 200, description = "The password is changed", body = SuccessResponse),
        (status = 400, description = "`wrong_password` or `password_too_short`")
    )
)]
#[post("/users/change-password")]
pub(crate) async fn change_password(
    Checked((caller, request)): Checked<(AuthenticatedUser, JsonBody<ChangePasswordRequest>)>,
    context: RequestContext,
) -> Result<Json<SuccessResponse>> {
    context.limit_by_caller(RateLimitClass::Auth, caller).await?;
    context
        .state
        .run(|services| async move {
            services.accounts.change_password(caller, request.current_password, request.new_password).await
        })
        .await?;
    Ok(SuccessResponse::new("Password Changed Successfully"))
}

request_fields! {
    /// The account whose password is forgotten.
    #[derive(ToSchema)]
    pub(crate) struct ForgotPasswordRequest {
        /// Email address of the account.
        #[schema(value_type = String, format = Email, max_length = 254, example = "ann@example.com")]
        email: Email,
    }
}

/// Mails a link to reset the password.
///
/// The response does not reveal whether the address has an account. An address receives at most one mail a minute and a
/// few an hour.
#[utoipa::path(
    tag = "users",
    request_body = ForgotPasswordRequest,
    responses((status = 200, description = "The link is sent if the address has an account", body = SuccessResponse))
)]
#[post("/users/forgot-password")]
pub(crate) async fn forgot_password(
    Checked(request): Checked<JsonBody<ForgotPasswordRequest>>,
    context: RequestContext,
) -> Result<Json<SuccessResponse>> {
    context.limit_by_name(RateLimitClass::Mail, Some(request.email.as_str())).await?;
    let address = context.address();
    context
        .state
        .run(|services| async move { services.accounts.forgot_password(request.email, address).await })
        .await?;
    Ok(SuccessResponse::new("Password reset link sent to your email"))
}

request_fields! {
    /// The token of a reset link, and the new password.
    #[derive(ToSchema)]
    pub(crate) struct ResetPasswordRequest {
        /// The query parameter `token` of the link.
        #[schema(example = "Zm9vYmFy")]
        token: String,
        /// The new password.
        #[schema(value_type = String, format = Password, min_length = 8, max_length = 128, example = "battery staple")]
        new_password: NewPassword,
    }
}

/// Sets a new password by a mailed link, and ends all sessions.
#[utoipa::path(
    tag = "users",
    request_body = ResetPasswordRequest,
    responses(
        (status = 200, description = "The password is changed", body = SuccessResponse),
        (status = 400, description = "`invalid_reset_token` or `password_too_short`")
    )
)]
#[post("/users/reset-password")]
pub(crate) async fn reset_password(
    Checked(request): Checked<JsonBody<ResetPasswordRequest>>,
    context: RequestContext,
) -> Result<Json<SuccessResponse>> {
    context.limit_by_name(RateLimitClass::Auth, None).await?;
    context
        .state
        .run(|services| async move {
            services.accounts.reset_password(request.token, request.new_password).await
        })
        .await?;
    Ok(SuccessResponse::new("Password reset successfully"))
}
