//! The routes, one file for each noun. A handler reads the request, runs one use case, and returns its result.

pub(crate) mod comments;
pub(crate) mod follows;
pub(crate) mod inbox;
pub(crate) mod likes;
pub(crate) mod login;
pub(crate) mod media;
pub(crate) mod metrics;
pub(crate) mod not_found;
pub(crate) mod notifications;
pub(crate) mod operations;
pub(crate) mod passwords;
pub(crate) mod posts;
pub(crate) mod problems;
pub(crate) mod registration;
pub(crate) mod sessions;
pub(crate) mod sockets;
pub(crate) mod users;

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    body::EitherBody,
    http::header::{self, HeaderValue},
    web::{self, Json},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

/// Registers every documented route. They are matched in this order, so the most frequent come first.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(posts::create)
        .service(posts::list)
        .service(posts::get)
        .service(posts::update)
        .service(posts::delete)
        .service(likes::like)
        .service(likes::unlike)
        .service(comments::create)
        .service(comments::list)
        .service(comments::update)
        .service(comments::delete)
        .service(notifications::list)
        .service(notifications::mark_all_read)
        // Otherwise `DELETE /notifications/read-all` would take the name for an id.
        .route("/notifications/read-all", web::to(not_found::not_found))
        .service(notifications::mark_read)
        .service(notifications::delete)
        .service(registration::register)
        .service(registration::verify_otp)
        .service(login::login)
        .service(login::refresh)
        .service(login::refresh_by_body)
        .service(login::logout)
        .service(passwords::change_password)
        .service(passwords::forgot_password)
        .service(passwords::reset_password)
        .service(users::me)
        .service(sessions::list)
        .service(sessions::end)
        .service(sessions::end_others)
        .service(follows::follow)
        .service(follows::unfollow)
        .service(follows::followers)
        .service(follows::following)
        .service(sockets::status)
        .service(media::load)
        .service(problems::list)
        .service(problems::get)
        .service(operations::live)
        .service(operations::ready)
        .service(inbox::page)
        .service(inbox::latest);
}

/// A JSON response that must not be stored, neither by caches nor by browsers: tokens (RFC 6749, section 5.1) and what
/// only the caller may see.
#[derive(Debug)]
pub(crate) struct NoStore<T>(pub(crate) T);

impl<T: Serialize> Responder for NoStore<T> {
    type Body = EitherBody<String>;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse<Self::Body> {
        let mut response = Json(self.0).respond_to(request);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Confirms that an operation succeeded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SuccessResponse {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// What was done.
    #[schema(example = "Post deleted successfully")]
    message: &'static str,
}

impl SuccessResponse {
    pub(crate) fn new(message: &'static str) -> actix_web::web::Json<Self> {
        actix_web::web::Json(Self { success: true, message })
    }
}
