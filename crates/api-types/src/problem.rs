//! Problem objects (RFC 9457): the single table of codes, statuses, titles and help texts.

use domain::Error;
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr,
        schema::{Schema, Type},
    },
};

/// A kind of problem, as `GET /problems/{code}` explains it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemKind {
    /// Stable identifier for programs.
    #[schema(value_type = ProblemCode)]
    pub code: &'static str,
    /// HTTP status of responses with this code.
    #[schema(example = 400)]
    pub status: u16,
    /// Short summary.
    #[schema(example = "Username already taken")]
    pub title: &'static str,
    /// What it means and how to fix it.
    #[schema(example = "Another account uses this name or is registering it. Choose another one.")]
    pub help: &'static str,
}

/// The members of every problem object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemDetails {
    /// Address of the explanation.
    #[serde(rename = "type")]
    #[schema(example = "/problems/username_taken")]
    pub kind: String,
    /// Short summary.
    #[schema(example = "Username already taken")]
    pub title: &'static str,
    /// HTTP status.
    #[schema(example = 400)]
    pub status: u16,
    /// A sentence to show to a person.
    #[schema(example = "Username already taken")]
    pub detail: String,
    /// Stable identifier for programs.
    #[schema(value_type = ProblemCode)]
    pub code: &'static str,
}

/// The schema of all codes. Later versions may add more.
#[derive(Debug)]
pub enum ProblemCode {}

impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let codes = PROBLEM_KINDS.iter().map(|kind| kind.code);
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
        schema.description(Some("Identifies a kind of problem. Later versions may add more.")).build().into()
    }
}

impl ToSchema for ProblemCode {}

macro_rules! problem_kinds {
    ($($status:literal $code:literal $title:literal: $help:literal;)*) => {
        /// All kinds, by status.
        pub const PROBLEM_KINDS: &[ProblemKind] =
            &[$(ProblemKind { code: $code, status: $status, title: $title, help: $help }),*];
    };
}

problem_kinds! {
    400 "email_taken" "Email already registered": "A verified account uses this email address. Log in, or request a password reset.";
    400 "username_taken" "Username already taken": "Another account uses this name or is registering it. Choose another one.";
    400 "password_too_short" "Password too short": "Passwords need at least 8 characters.";
    400 "invalid_otp" "Invalid code": "The code is wrong, already used, replaced by a newer one, of another registration, or was tried too often: five times from one client address, or 25 times in all. Register again to get a new code.";
    400 "expired_otp" "Code expired": "Codes are valid for 10 minutes. Register again to get a new code.";
    400 "bad_credentials" "Incorrect username or password": "No account matches this username or email address and password.";
    400 "wrong_password" "Incorrect password": "The current password does not match.";
    400 "invalid_reset_token" "Invalid or expired reset token": "A reset link works once, for 15 minutes, and only the newest link works. Request a new one.";
    400 "empty_post" "Empty post": "A post needs text, a file, or both. Blank text and empty files do not count.";
    400 "already_liked" "Already liked": "You already like this post. Nothing was changed.";
    400 "not_liked" "Not liked": "You do not like this post. Nothing was changed.";
    400 "self_follow" "Cannot follow yourself": "Users cannot follow themselves.";
    400 "already_following" "Already following": "You already follow this user. Nothing was changed.";
    400 "not_following" "Not following": "You do not follow this user. Nothing was changed.";
    400 "invalid_cursor" "Invalid cursor": "Send `next_cursor` unchanged, and only to the list that returned it.";
    400 "page_too_deep" "Page too far back": "Numbered pages of this list end at item 100000. Continue with `next_cursor`, which costs the same at any depth.";
    400 "bad_request" "Bad request": "The server could not read the request.";
    400 "overlapping_messages" "Overlapping messages": "A socket that polls sends one message at a time; it was closed. Reconnect, and wait for each response.";
    401 "not_authenticated" "Not authenticated": "Send `Authorization: Bearer <access token>`.";
    401 "invalid_token" "Invalid token": "The token is expired, revoked or of another kind. Refresh it or log in again.";
    403 "not_verified" "Email not verified": "Enter the code from the verification mail, or register again to get a new one.";
    403 "inactive_user" "Inactive user": "The account is deactivated.";
    403 "not_post_owner" "Not your post": "Only the author can change or delete a post.";
    403 "origin_not_allowed" "Origin not allowed": "Pages of this origin may not open sockets. Add the origin to CORS_ORIGINS.";
    403 "host_not_allowed" "Host not allowed": "The inbox is shown under localhost, an address of this machine or of a private network, and the host of PUBLIC_URL. Otherwise other websites could read it.";
    404 "not_found" "Not found": "No resource has this address. See /docs for all paths.";
    404 "post_not_found" "Post not found": "The post does not exist, or you may not see it.";
    404 "comment_not_found" "Comment not found": "The post has no comment of yours with this id.";
    404 "user_not_found" "User not found": "The user does not exist.";
    404 "notification_not_found" "Notification not found": "You have no notification with this id.";
    404 "session_not_found" "Session not found": "You have no session with this id, or it has ended.";
    405 "method_not_allowed" "Method not allowed": "The `Allow` header lists the methods of this path.";
    408 "request_timeout" "Request timeout": "The request did not arrive in time. Send it again.";
    413 "payload_too_large" "Payload too large": "The body exceeds the limit of this path.";
    413 "media_quota_exceeded" "File quota exceeded": "The files of your posts together would exceed the limit of an account. Nothing was stored. Delete posts with files to make room, or send a smaller file.";
    413 "media_too_large" "File too large": "The file exceeds the limit of its kind.";
    415 "unsupported_media_type" "Unsupported media type": "Send the body in one of the content types that /docs lists for this path.";
    415 "unsupported_media" "Unsupported file": "Accepted files are JPEG, PNG, GIF, WebP, MP4 and WebM. The content counts, not the file name.";
    416 "range_not_satisfiable" "Range not satisfiable": "The file does not have this range. `Content-Range` has its length.";
    422 "validation_error" "Invalid input": "`errors` lists the location, kind and text of each mistake.";
    429 "too_much_data" "Too much data": "The socket sent more data than allowed. Reconnect and send less.";
    429 "too_many_connections" "Too many connections": "This address has too many open sockets. Close some.";
    429 "rate_limited" "Too many requests": "Retry after the number of seconds in `Retry-After`.";
    431 "headers_too_large" "Headers too large": "The request line and headers exceed 128 KiB.";
    500 "internal_error" "Internal server error": "An error in the server. It is logged with the request id. A change may or may not have been made: read before you retry.";
    502 "media_upload_failed" "Media upload failed": "The media store did not accept the file, and the post was not stored. Try again.";
    503 "unavailable" "Temporarily unavailable": "A service that the server depends on does not respond. Retry after the number of seconds in `Retry-After`.";
    503 "shutting_down" "Shutting down": "This server process is stopping. Reconnect to reach another one.";
    503 "overloaded" "Overloaded": "The server has too many requests in progress. Retry after the number of seconds in `Retry-After`.";
    507 "storage_full" "Storage full": "The server has no storage left. Nothing was stored.";
}

impl ProblemKind {
    /// Returns the kind with this code.
    pub fn find(code: &str) -> Option<&'static Self> {
        PROBLEM_KINDS.iter().find(|kind| kind.code == code)
    }

    /// Returns the generic kind of a status, for responses that the HTTP library made.
    pub fn of_status(status: u16) -> &'static Self {
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
        Self::find(code).unwrap_or(&PROBLEM_KINDS[0])
    }

    /// Returns the kind of an error of the core.
    pub fn of_error(error: &Error) -> &'static Self {
        Self::find(error.code()).unwrap_or_else(|| Self::of_status(500))
    }

    /// Builds a problem object of this kind.
    pub fn with_detail(&self, detail: impl Into<String>) -> ProblemDetails {
        let kind = format!("/problems/{}", self.code);
        ProblemDetails {
            kind,
            title: self.title,
            status: self.status,
            detail: detail.into(),
            code: self.code,
        }
    }
}

impl From<&Error> for ProblemDetails {
    /// Internal causes stay out of the object.
    fn from(error: &Error) -> Self {
        let kind = ProblemKind::of_error(error);
        kind.with_detail(if kind.status == 500 { kind.title.to_owned() } else { error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_core_error_has_a_problem_kind_with_its_status() {
        let others =
            [Error::overloaded(), Error::unavailable("x"), Error::internal("x"), Error::Invalid(vec![])];
        for error in Error::NAMED.iter().chain(&others) {
            let problem = ProblemKind::find(error.code())
                .unwrap_or_else(|| panic!("{} has no problem kind", error.code()));
            let expected = match error {
                Error::Invalid(_) => 422,
                Error::Refused(_) => 400,
                Error::Unauthenticated(_) => 401,
                Error::Forbidden(_) => 403,
                Error::NotFound(_) => 404,
                Error::TooLarge(_) => 413,
                Error::Unsupported(_) => 415,
                Error::Upstream(_) => 502,
                Error::TooMany(_) => 429,
                Error::Full(_) => 507,
                Error::Unavailable(..) => 503,
                Error::Internal(_) => 500,
            };
            assert_eq!(problem.status, expected, "{}", error.code());
        }
    }

    #[test]
    fn codes_are_unique_and_every_status_has_a_generic_kind() {
        let codes: HashSet<_> = PROBLEM_KINDS.iter().map(|problem| problem.code).collect();
        assert_eq!(codes.len(), PROBLEM_KINDS.len());
        for status in [400, 401, 404, 405, 408, 413, 415, 416, 422, 429, 500, 503] {
            assert_eq!(ProblemKind::of_status(status).status, status);
        }
    }

    #[test]
    fn problem_of_an_internal_error_hides_the_cause() {
        let problem = ProblemDetails::from(&Error::internal("database password"));
        assert_eq!((problem.detail.as_str(), problem.status), ("Internal server error", 500));
        let problem = ProblemDetails::from(&Error::INVALID_TOKEN);
        assert_eq!(
            (problem.kind.as_str(), problem.detail.as_str()),
            ("/problems/invalid_token", "Invalid token")
        );
    }
}
