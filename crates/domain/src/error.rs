//! The error type of the core.

use std::{error::Error as StdError, io};

/// A stable code for programs and a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// `snake_case`, never changed once published.
    pub code: &'static str,
    /// A sentence that may be shown to a person.
    pub message: &'static str,
}

/// Why a use case failed. There is one variant for each way in which a client can react.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Values violate the rules of their types.
    #[error("{}", .0.first().map_or("invalid", |violation| violation.message.as_str()))]
    Invalid(Vec<Violation>),
    /// A business rule forbids the request.
    #[error("{}", .0.message)]
    Refused(Reason),
    /// The caller is not authenticated.
    #[error("{}", .0.message)]
    Unauthenticated(Reason),
    /// The caller is authenticated but not permitted.
    #[error("{}", .0.message)]
    Forbidden(Reason),
    /// The resource does not exist or the caller may not see it.
    #[error("{}", .0.message)]
    NotFound(Reason),
    /// The upload is too large.
    #[error("{}", .0.message)]
    TooLarge(Reason),
    /// The upload is of an unsupported kind.
    #[error("{}", .0.message)]
    Unsupported(Reason),
    /// An external service failed. Nothing was changed.
    #[error("{}", .0.message)]
    Upstream(Reason),
    /// The caller exceeds a rate limit, and may retry later.
    #[error("{}", .0.message)]
    TooMany(Reason),
    /// No storage is left.
    #[error("{}", .0.message)]
    Full(Reason),
    /// The request may succeed later. The source is for the log.
    #[error("{}", .0.message)]
    Unavailable(Reason, #[source] Option<Box<dyn StdError + Send + Sync>>),
    /// An unexpected failure. The source is for the log, never for a client.
    #[error("internal error")]
    Internal(#[source] Box<dyn StdError + Send + Sync>),
}

/// The result type of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $variant:ident($code:literal, $message:literal);)*) => {
        impl Error {
            $($(#[$doc])* pub const $name: Error = Error::$variant(Reason { code: $code, message: $message });)*

            /// All errors with a name.
            pub const NAMED: &[Error] = &[$(Error::$name),*];
        }
    };
}

reasons! {
    /// A verified account has the address of a registration.
    EMAIL_TAKEN = Refused("email_taken", "User already exists and is verified");
    /// A user has, or a pending registration reserves, the username.
    USERNAME_TAKEN = Refused("username_taken", "Username already taken");
    /// A new password is too short.
    PASSWORD_TOO_SHORT = Refused("password_too_short", "Password must be at least 8 characters");
    /// A code is wrong or used, or has no attempts left.
    INVALID_OTP = Refused("invalid_otp", "Invalid OTP or OTP already used");
    /// The code is right but expired.
    EXPIRED_OTP = Refused("expired_otp", "OTP has expired. Please request a new one.");
    /// The user is unknown or the password wrong. The error does not reveal which.
    BAD_CREDENTIALS = Refused("bad_credentials", "Incorrect username or password");
    /// The current password is wrong.
    WRONG_PASSWORD = Refused("wrong_password", "Incorrect Password");
    /// A reset token is unknown, used, replaced or expired.
    INVALID_RESET_TOKEN = Refused("invalid_reset_token", "Invalid or expired reset token");
    /// A post has neither content nor media.
    EMPTY_POST = Refused("empty_post", "Post must have either content or media");
    /// The user already likes the post.
    ALREADY_LIKED = Refused("already_liked", "You already liked this post");
    /// The user does not like the post.
    NOT_LIKED = Refused("not_liked", "You haven't liked this post");
    /// Users cannot follow themselves.
    SELF_FOLLOW = Refused("self_follow", "You cannot follow yourself");
    /// The user already follows the other.
    ALREADY_FOLLOWING = Refused("already_following", "Already following this user");
    /// The user does not follow the other.
    NOT_FOLLOWING = Refused("not_following", "You are not following this user");
    /// A cursor was altered or belongs to another list.
    INVALID_CURSOR = Refused("invalid_cursor", "Invalid cursor");
    /// Only a cursor reaches the page.
    PAGE_TOO_DEEP = Refused("page_too_deep", "This page is too far back, continue with next_cursor instead");
    /// The request has no bearer token.
    NOT_AUTHENTICATED = Unauthenticated("not_authenticated", "Not authenticated");
    /// A token is malformed, forged, expired, revoked or of the wrong kind.
    INVALID_TOKEN = Unauthenticated("invalid_token", "Invalid token");
    /// The e-mail address of the account is not verified.
    NOT_VERIFIED = Forbidden("not_verified", "Please verify your email first");
    /// The account is deactivated.
    INACTIVE_USER = Forbidden("inactive_user", "Inactive user");
    /// Only the author may update a post.
    NOT_YOUR_POST_TO_UPDATE = Forbidden("not_post_owner", "You can only update your own posts");
    /// Only the author may delete a post.
    NOT_YOUR_POST_TO_DELETE = Forbidden("not_post_owner", "You can only delete your own posts");
    /// The post does not exist or the viewer may not see it.
    POST_NOT_FOUND = NotFound("post_not_found", "Post not found");
    /// The post has no such comment of this author.
    COMMENT_NOT_FOUND = NotFound("comment_not_found", "Comment not found");
    /// There is no such verified and active user.
    USER_NOT_FOUND = NotFound("user_not_found", "User not found");
    /// The recipient has no such notification.
    NOTIFICATION_NOT_FOUND = NotFound("notification_not_found", "Notification not found");
    /// The user has no such active session.
    SESSION_NOT_FOUND = NotFound("session_not_found", "Session not found");
    /// The file does not exist or the viewer may not load it.
    MEDIA_NOT_FOUND = NotFound("not_found", "Not Found");
    /// A file exceeds the limit for its kind.
    MEDIA_TOO_LARGE = TooLarge("media_too_large", "The file is too large");
    /// The files of an account exceed its quota.
    MEDIA_QUOTA_EXCEEDED = TooLarge("media_quota_exceeded", "Your files have reached their limit, delete posts with files to make room");
    /// A picture has more pixels than the limit.
    MEDIA_TOO_MANY_PIXELS = TooLarge("media_too_large", "The picture has too many pixels");
    /// A file is, by its content, of no kind that posts may have.
    MEDIA_UNSUPPORTED = Unsupported("unsupported_media", "Only JPEG, PNG, GIF, WebP, MP4 and WebM files are accepted");
    /// The media store rejected the file or did not respond.
    MEDIA_UPLOAD_FAILED = Upstream("media_upload_failed", "Failed to upload media");
    /// The user connects sockets too often.
    RATE_LIMITED = TooMany("rate_limited", "Too many requests");
    /// The disk or the database is full.
    STORAGE_FULL = Full("storage_full", "The server has no storage left");
}

impl Error {
    /// Wraps an unexpected failure.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// Wraps a failure of the file system.
    pub fn from_io(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::STORAGE_FULL,
            _ => Self::internal(source),
        }
    }

    /// Wraps the failure of a database or service that is temporarily unavailable.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let message = "The service is temporarily unavailable";
        Self::Unavailable(Reason { code: "unavailable", message }, Some(source.into()))
    }

    /// Creates the error for a file of a supported kind that cannot be shown, with a sentence that says why.
    pub fn media_unsupported(message: &'static str) -> Self {
        Self::Unsupported(Reason { code: "unsupported_media", message })
    }

    /// Creates the error for a full queue.
    pub fn overloaded() -> Self {
        let message = "Too many requests at once, please try again";
        Self::Unavailable(Reason { code: "overloaded", message }, None)
    }

    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "validation_error",
            Self::Refused(reason)
            | Self::Unauthenticated(reason)
            | Self::Forbidden(reason)
            | Self::NotFound(reason)
            | Self::TooLarge(reason)
            | Self::Unsupported(reason)
            | Self::Upstream(reason)
            | Self::TooMany(reason)
            | Self::Full(reason)
            | Self::Unavailable(reason, _) => reason.code,
            Self::Internal(_) => "internal_error",
        }
    }
}

/// Errors are equal if clients cannot distinguish them.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Invalid(mine), Self::Invalid(theirs)) => mine == theirs,
            _ => self.code() == other.code() && self.to_string() == other.to_string(),
        }
    }
}

/// A value that violates a rule of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the field in the request.
    pub field: &'static str,
    /// The kind of rule.
    pub rule: Rule,
    /// The rule as a sentence, without the value itself.
    pub message: String,
}

/// The kind of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Fewer characters than the minimum.
    TooShort,
    /// More characters than the maximum.
    TooLong,
    /// Any other rule.
    Value,
}

impl Violation {
    /// Creates a violation of a rule about the value.
    pub fn value(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, rule: Rule::Value, message: message.into() }
    }

    /// Rejects the character NUL, which PostgreSQL cannot store.
    pub(crate) fn check_nul(field: &'static str, value: &str) -> Result<(), Self> {
        if value.contains('\0') {
            return Err(Self::value(field, "String should not contain the character NUL"));
        }
        Ok(())
    }

    /// Checks a length in characters.
    pub(crate) fn check_length(field: &'static str, value: &str, min: usize, max: usize) -> Result<(), Self> {
        let length = value.chars().count();
        let (rule, bound, limit) = if length < min {
            (Rule::TooShort, "least", min)
        } else if length > max {
            (Rule::TooLong, "most", max)
        } else {
            return Ok(());
        };
        let plural = if limit == 1 { "" } else { "s" };
        Err(Self { field, rule, message: format!("String should have at {bound} {limit} character{plural}") })
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(vec![violation])
    }
}
