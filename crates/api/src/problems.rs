//! Every problem that an answer can be (RFC 9457): the one source of codes, statuses, titles and help.

use serde::Serialize;
use utoipa::ToSchema;

/// A kind of problem, as `GET /problems/{code}` explains it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemKind {
    /// Stable, for programs.
    #[schema(example = "username_taken")]
    pub code: &'static str,
    /// The HTTP status of answers that have it.
    #[schema(example = 400)]
    pub status: u16,
    /// What it is, in few words.
    #[schema(example = "Username already taken")]
    pub title: &'static str,
    /// What it means and what to do.
    #[schema(example = "Somebody has this name, or registers it at the moment. Choose another one.")]
    pub help: &'static str,
}

macro_rules! problems {
    ($($status:literal $code:literal $title:literal: $help:literal;)*) => {
        /// Every kind, by status.
        pub(crate) const PROBLEMS: &[ProblemKind] =
            &[$(ProblemKind { code: $code, status: $status, title: $title, help: $help }),*];
    };
}

problems! {
    400 "email_taken" "Email already registered": "A verified account has this e-mail address. Log in, or ask for a reset link.";
    400 "username_taken" "Username already taken": "Somebody has this name, or registers it at the moment. Choose another one.";
    400 "password_too_short" "Password too short": "A password has at least 8 characters.";
    400 "invalid_otp" "Invalid code": "The code is wrong, used, replaced by a newer one, or was tried five times. Register again to get a new one.";
    400 "expired_otp" "Code expired": "A code is valid for 10 minutes. Register again to get a new one.";
    400 "bad_credentials" "Incorrect username or password": "No user has this name or address with this password.";
    400 "wrong_password" "Incorrect password": "The current password does not match.";
    400 "invalid_reset_token" "Invalid or expired reset token": "A reset link works once, for 15 minutes, and only the newest one. Ask for a new one.";
    400 "empty_post" "Empty post": "A post has text, a file, or both. Blank text and empty files do not count.";
    400 "already_liked" "Already liked": "You like this post already; nothing was changed.";
    400 "not_liked" "Not liked": "You did not like this post; nothing was changed.";
    400 "self_follow" "Cannot follow yourself": "Follow somebody else.";
    400 "already_following" "Already following": "You follow this user already; nothing was changed.";
    400 "not_following" "Not following": "You did not follow this user; nothing was changed.";
    400 "invalid_cursor" "Invalid cursor": "Pass `next_cursor` as it came, to the list that it came from.";
    400 "page_too_deep" "Page too far back": "Numbered pages of this list reach 100000 items deep. Continue with `next_cursor`, which costs the same everywhere.";
    400 "bad_request" "Bad request": "The request could not be read.";
    401 "not_authenticated" "Not authenticated": "Send `Authorization: Bearer <access token>`.";
    401 "invalid_token" "Invalid token": "The token is expired, revoked or of another kind. Refresh it, or log in again.";
    403 "not_verified" "Email not verified": "Enter the code that was mailed, or register again to get a new one.";
    403 "inactive_user" "Inactive user": "The account has been deactivated.";
    403 "not_post_owner" "Not your post": "Only its author may change or delete a post.";
    403 "origin_not_allowed" "Origin not allowed": "Pages of this origin may not open sockets; the server's CORS_ORIGINS lists those that may.";
    404 "not_found" "Not found": "There is nothing at this address. The paths are listed at /docs.";
    404 "post_not_found" "Post not found": "There is no such post, or it is not for your eyes.";
    404 "comment_not_found" "Comment not found": "The post has no such comment of yours.";
    404 "user_not_found" "User not found": "There is no such user.";
    404 "notification_not_found" "Notification not found": "You have no such notification.";
    404 "session_not_found" "Session not found": "You have no such session, or it has ended.";
    405 "method_not_allowed" "Method not allowed": "The header `Allow` lists the methods of this path.";
    408 "request_timeout" "Request timeout": "The request did not arrive in time. Send it again.";
    413 "payload_too_large" "Payload too large": "The body is larger than this path takes.";
    413 "media_too_large" "File too large": "The file is larger than what is accepted for its kind.";
    415 "unsupported_media_type" "Unsupported media type": "Send the body as one of the content types that /docs lists for this path.";
    415 "unsupported_media" "Unsupported file": "Files are JPEG, PNG, GIF, WebP, MP4 or WebM by their content, whatever their names say.";
    416 "range_not_satisfiable" "Range not satisfiable": "The file has no such range; `Content-Range` says how long it is.";
    422 "validation_error" "Invalid input": "`errors` lists the place, kind and text of every mistake.";
    429 "too_much_data" "Too much data": "The socket sent more than it may; connect again and send less.";
    429 "too_many_connections" "Too many connections": "This address has as many sockets as it may have. Close some.";
    429 "rate_limited" "Too many requests": "Wait as many seconds as `Retry-After` says.";
    431 "headers_too_large" "Headers too large": "Address and headers of a request may have 128 KiB together.";
    500 "internal_error" "Internal server error": "A fault of ours, which has been logged with the request id. Nothing was half done.";
    502 "media_upload_failed" "Media upload failed": "The media store did not take the file, and no post was stored. Try again.";
    503 "unavailable" "Temporarily unavailable": "A service behind ours does not answer. Try again after `Retry-After` seconds.";
    503 "shutting_down" "Shutting down": "This server process ends. Connect again: another one takes over.";
    503 "overloaded" "Overloaded": "Too much is asked at the moment. Try again after `Retry-After` seconds.";
    507 "storage_full" "Storage full": "The server has no room left, and nothing was stored.";
}

/// The kind with this code.
pub(crate) fn find(code: &str) -> Option<&'static ProblemKind> {
    PROBLEMS.iter().find(|problem| problem.code == code)
}

/// The kind for an answer that the framework made: the generic one of its status.
pub(crate) fn of_status(status: u16) -> &'static ProblemKind {
    let code = match status {
        401 => "not_authenticated",
        404 => "not_found",
        405 => "method_not_allowed",
        408 => "request_timeout",
        413 => "payload_too_large",
        415 => "unsupported_media_type",
        416 => "range_not_satisfiable",
        422 => "validation_error",
        429 => "rate_limited",
        431 => "headers_too_large",
        503 => "unavailable",
        400..500 => "bad_request",
        _ => "internal_error",
    };
    find(code).unwrap_or(&PROBLEMS[0])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use domain::Error;

    use super::*;

    #[test]
    fn every_error_of_the_core_is_a_problem_of_the_right_class() {
        let others =
            [Error::overloaded(), Error::unavailable("x"), Error::internal("x"), Error::Invalid(vec![])];
        for error in Error::NAMED.iter().chain(&others) {
            let problem = find(error.code()).unwrap_or_else(|| panic!("{} is no problem", error.code()));
            let expected = match error {
                Error::Invalid(_) => 422,
                Error::Refused(_) => 400,
                Error::Unauthenticated(_) => 401,
                Error::Forbidden(_) => 403,
                Error::NotFound(_) => 404,
                Error::TooLarge(_) => 413,
                Error::Unsupported(_) => 415,
                Error::Upstream(_) => 502,
                Error::Full(_) => 507,
                Error::Unavailable(..) => 503,
                Error::Internal(_) => 500,
            };
            assert_eq!(problem.status, expected, "{}", error.code());
        }
    }

    #[test]
    fn codes_are_unique_and_every_status_has_a_generic_kind() {
        let codes: HashSet<_> = PROBLEMS.iter().map(|problem| problem.code).collect();
        assert_eq!(codes.len(), PROBLEMS.len());
        for status in [400, 401, 404, 405, 408, 413, 415, 416, 422, 429, 500, 503] {
            assert_eq!(of_status(status).status, status);
        }
    }
}
