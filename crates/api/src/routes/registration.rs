//! Registration and verification of the email address.

use actix_web::{
    HttpRequest, post,
    web::{Data, Json},
};
use application::{accounts::Verified, rate_limit::RateLimitClass};
use domain::{
    Error,
    accounts::{Otp, RegistrationHandle},
    passwords::NewPassword,
    users::{Email, Username},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{NoStore, login::TokenPairResponse};
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

/// A pending registration.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegisterResponse {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// What was done.
    #[schema(example = "OTP sent to your email")]
    message: &'static str,
    /// Identifies the registration in `POST /users/verify-otp`.
    #[schema(example = "dGhpcyBpcyBhbiBpZCEhIQ")]
    registration_id: String,
}

/// Registers an account and mails a verification code.
///
/// Registering again sends a new code. Registrations of one address do not replace each other: a code activates only what
/// was registered with it. An address receives at most one mail a minute and a few an hour: later mails are
/// delayed or not sent.
#[utoipa::path(
    operation_id = "register",
    tag = "accounts",
    request_body = RegisterRequest,
    responses(
        (status = 200, description = "The code is sent", body = RegisterResponse),
        (status = 400, description = "`email_taken`, `username_taken` or `password_too_short`")
    )
)]
#[post("/users/register")]
pub(crate) async fn register(
    Checked(body): Checked<JsonBody<RegisterRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<RegisterResponse>> {
    rate_limit::enforce_by_name(&state, &request, RateLimitClass::Mail, Some(body.email.as_str())).await?;
    let handle = state
        .run_for(address_of(&request), |services, requester| async move {
            services.accounts.register(body.username, body.email, body.password, &requester).await
        })
        .await?;
    Ok(Json(RegisterResponse {
        success: true,
        message: "OTP sent to your email",
        registration_id: handle.as_str().to_owned(),
    }))
}

request_fields! {
    /// A verification code.
    #[derive(ToSchema)]
    pub(crate) struct VerifyRequest {
        /// The address that received the code.
        #[schema(value_type = String, format = Email, max_length = 254, example = "ann@example.com")]
        email: Email,
        /// The six digits of the code. Spaces, hyphens and invisible characters are ignored.
        #[schema(value_type = String, example = "123456")]
        otp: Otp,
        /// The `registration_id` of the registration that the code was mailed for. If present, only this registration's
        /// code is right.
        #[schema(example = "dGhpcyBpcyBhbiBpZCEhIQ")]
        registration_id: Option<String>,
    }
}

/// Tokens of the first session.
#[derive(Serialize, ToSchema)]
pub(crate) struct VerifyResponse {
    #[serde(flatten)]
    tokens: TokenPairResponse,
    /// Present, and true, if different passwords were registered for the address and none of them is valid: the link in
    /// another mail sets one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, example = true)]
    password_reset_required: bool,
}

impl From<Verified> for VerifyResponse {
    fn from(verified: Verified) -> Self {
        Self { tokens: verified.tokens.into(), password_reset_required: verified.password_reset_required }
    }
}

/// Verifies an email address by the mailed code, and logs in.
///
/// Anyone can register any address, also with the same username. Without `registration_id`, if registrations of the
/// address with different passwords are pending, none of the passwords becomes valid: the response has
/// `password_reset_required`, and a mail with a link to set a password is sent.
///
/// A code allows five attempts from one client address, and 25 in all.
#[utoipa::path(
    operation_id = "verifyEmail",
    tag = "accounts",
    request_body = VerifyRequest,
    responses(
        (status = 200, description = "The address is verified", body = VerifyResponse),
        (status = 400, description = "`invalid_otp`, `expired_otp` or `username_taken`")
    )
)]
#[post("/users/verify-otp")]
pub(crate) async fn verify_otp(
    Checked(body): Checked<JsonBody<VerifyRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<NoStore<VerifyResponse>> {
    rate_limit::enforce_by_name(&state, &request, RateLimitClass::Auth, Some(body.email.as_str())).await?;
    let registration = match body.registration_id.filter(|id| !id.trim().is_empty()) {
        Some(id) => Some(RegistrationHandle::parse(&id).ok_or(Error::INVALID_OTP)?),
        None => None,
    };
    let (address, client) = (address_of(&request), user_agent(&request));
    let verified = state
        .run(|services| async move {
            services.accounts.verify_otp(body.email, body.otp, registration, address, client).await
        })
        .await?;
    Ok(NoStore(verified.into()))
}
