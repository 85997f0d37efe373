//! Changing and resetting passwords.

use actix_web::{
    HttpRequest, post,
    web::{Data, Json},
};
use application::rate_limit::{RateLimitClass, Subject};
use domain::{passwords::NewPassword, users::Email};
use utoipa::ToSchema;

use super::SuccessResponse;
use crate::{
    error::Result,
    request::{AuthenticatedUser, Checked, JsonBody, address_of, rate_limit, request_fields},
    state::AppState,
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
    operation_id = "changePassword",
    tag = "accounts",
    security(("access" = [])),
    request_body = ChangePasswordRequest,
    responses(
        (status = 200, description = "The password is changed", body = SuccessResponse),
        (status = 400, description = "`wrong_password` or `password_too_short`")
    )
)]
#[post("/users/change-password")]
pub(crate) async fn change_password(
    Checked((caller, body)): Checked<(AuthenticatedUser, JsonBody<ChangePasswordRequest>)>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    rate_limit::enforce(&state, &request, RateLimitClass::Auth, Subject::Account(caller.user)).await?;
    state
        .run_for(address_of(&request), |services, requester| async move {
            let accounts = &services.accounts;
            accounts.change_password(caller, body.current_password, body.new_password, &requester).await
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
    operation_id = "requestPasswordReset",
    tag = "accounts",
    request_body = ForgotPasswordRequest,
    responses((status = 200, description = "The link is sent if the address has an account", body = SuccessResponse))
)]
#[post("/users/forgot-password")]
pub(crate) async fn forgot_password(
    Checked(body): Checked<JsonBody<ForgotPasswordRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    rate_limit::enforce_by_name(&state, &request, RateLimitClass::Mail, Some(body.email.as_str())).await?;
    let address = address_of(&request);
    state.run(|services| async move { services.accounts.forgot_password(body.email, address).await }).await?;
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
    operation_id = "resetPassword",
    tag = "accounts",
    request_body = ResetPasswordRequest,
    responses(
        (status = 200, description = "The password is changed", body = SuccessResponse),
        (status = 400, description = "`invalid_reset_token` or `password_too_short`")
    )
)]
#[post("/users/reset-password")]
pub(crate) async fn reset_password(
    Checked(body): Checked<JsonBody<ResetPasswordRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    rate_limit::enforce_by_name(&state, &request, RateLimitClass::Auth, None).await?;
    state
        .run_for(address_of(&request), |services, requester| async move {
            services.accounts.reset_password(body.token, body.new_password, &requester).await
        })
        .await?;
    Ok(SuccessResponse::new("Password reset successfully"))
}
