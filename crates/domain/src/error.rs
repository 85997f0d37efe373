//! Why something could not be done.

use std::error::Error as StdError;

/// A stable code for programs and the sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// `snake_case`, never changed once published.
    pub code: &'static str,
    /// Fit to be shown to a person.
    pub message: &'static str,
}

/// Why a request could not be carried out: one variant for each way in which a client can react.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Values that break the rules of their types.
    #[error("{}", .0.first().map_or("invalid", |violation| violation.message.as_str()))]
    Invalid(Vec<Violation>),
    /// A business rule forbids it.
    #[error("{}", .0.message)]
    Refused(Reason),
    /// The caller is not known.
    #[error("{}", .0.message)]
    Unauthenticated(Reason),
    /// The caller is known, and may not.
    #[error("{}", .0.message)]
    Forbidden(Reason),
    /// There is none, or it is not for the caller's eyes.
    #[error("{}", .0.message)]
    NotFound(Reason),
    /// It is larger than what is taken.
    #[error("{}", .0.message)]
    TooLarge(Reason),
    /// It is of a kind that is not taken.
    #[error("{}", .0.message)]
    Unsupported(Reason),
    /// A service behind ours gave no usable answer, and nothing was changed.
    #[error("{}", .0.message)]
    Upstream(Reason),
    /// No room is left to store it.
    #[error("{}", .0.message)]
    Full(Reason),
    /// It cannot be done at the moment; trying again later may help. The source is for the log.
    #[error("{}", .0.message)]
    Unavailable(Reason, #[source] Option<Box<dyn StdError + Send + Sync>>),
    /// A fault of ours. The source is for the log, never for a client.
    #[error("internal error")]
    Internal(#[source] Box<dyn StdError + Send + Sync>),
}

/// The result of everything that can fail in the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $variant:ident($code:literal, $message:literal);)*) => {
        impl Error {
            $($(#[$doc])* pub const $name: Error = Error::$variant(Reason { code: $code, message: $message });)*

            /// Every error that has a name here.
            pub const NAMED: &[Error] = &[$(Error::$name),*];
        }
    };
}

reasons! {
    /// Registration with the address of a verified account.
    EMAIL_TAKEN = Refused("email_taken", "User already exists and is verified");
    /// Registration with a name that somebody has or holds.
    USERNAME_TAKEN = Refused("username_taken", "Username already taken");
    /// A new password below the minimum.
    PASSWORD_TOO_SHORT = Refused("password_too_short", "Password must be at least 8 characters");
    /// A code that is wrong, used, or has been tried too often.
    INVALID_OTP = Refused("invalid_otp", "Invalid OTP or OTP already used");
    /// The right code, too late.
    EXPIRED_OTP = Refused("expired_otp", "OTP has expired. Please request a new one.");
    /// Unknown user or wrong password; which of them is not said.
    BAD_CREDENTIALS = Refused("bad_credentials", "Incorrect username or password");
    /// The current password was not given rightly.
    WRONG_PASSWORD = Refused("wrong_password", "Incorrect Password");
    /// A reset link that is unknown, used, superseded or too old.
    INVALID_RESET_TOKEN = Refused("invalid_reset_token", "Invalid or expired reset token");
    /// A post of nothing.
    EMPTY_POST = Refused("empty_post", "Post must have either content or media");
    /// A second like.
    ALREADY_LIKED = Refused("already_liked", "You already liked this post");
    /// An unlike without a like.
    NOT_LIKED = Refused("not_liked", "You haven't liked this post");
    /// Following oneself.
    SELF_FOLLOW = Refused("self_follow", "You cannot follow yourself");
    /// A second follow.
    ALREADY_FOLLOWING = Refused("already_following", "Already following this user");
    /// An unfollow without a follow.
    NOT_FOLLOWING = Refused("not_following", "You are not following this user");
    /// A cursor that we did not make for this list.
    INVALID_CURSOR = Refused("invalid_cursor", "Invalid cursor");
    /// A page by number that only a cursor reaches.
    PAGE_TOO_DEEP = Refused("page_too_deep", "This page is too far back, continue with next_cursor instead");
    /// A route that needs a bearer got none.
    NOT_AUTHENTICATED = Unauthenticated("not_authenticated", "Not authenticated");
    /// A token that is bad, expired, revoked or of another kind.
    INVALID_TOKEN = Unauthenticated("invalid_token", "Invalid token");
    /// The account exists and its e-mail address is not verified.
    NOT_VERIFIED = Forbidden("not_verified", "Please verify your email first");
    /// The account has been deactivated.
    INACTIVE_USER = Forbidden("inactive_user", "Inactive user");
    /// Changing somebody else's post.
    NOT_YOUR_POST_TO_UPDATE = Forbidden("not_post_owner", "You can only update your own posts");
    /// Deleting somebody else's post.
    NOT_YOUR_POST_TO_DELETE = Forbidden("not_post_owner", "You can only delete your own posts");
    /// No such post for this viewer.
    POST_NOT_FOUND = NotFound("post_not_found", "Post not found");
    /// No such comment of this author under this post.
    COMMENT_NOT_FOUND = NotFound("comment_not_found", "Comment not found");
    /// No such verified and active user.
    USER_NOT_FOUND = NotFound("user_not_found", "User not found");
    /// No such notification of this recipient.
    NOTIFICATION_NOT_FOUND = NotFound("notification_not_found", "Notification not found");
    /// No such session of this user that lives.
    SESSION_NOT_FOUND = NotFound("session_not_found", "Session not found");
    /// No such media file for this viewer.
    MEDIA_NOT_FOUND = NotFound("not_found", "Not Found");
    /// A file beyond the limit for its kind.
    MEDIA_TOO_LARGE = TooLarge("media_too_large", "The file is too large");
    /// A file that is, by its content, none of the kinds that posts may have.
    MEDIA_UNSUPPORTED = Unsupported("unsupported_media", "Only JPEG, PNG, GIF, WebP, MP4 and WebM files are accepted");
    /// The media store refused or did not answer.
    MEDIA_UPLOAD_FAILED = Upstream("media_upload_failed", "Failed to upload media");
    /// The disk or the database has no room left.
    STORAGE_FULL = Full("storage_full", "The server has no storage left");
}

impl Error {
    /// Wraps a fault of ours.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// The database or another service cannot be reached in time.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable(Self::UNAVAILABLE, Some(source.into()))
    }

    /// More work is waiting than can be done in time.
    pub fn overloaded() -> Self {
        Self::Unavailable(
            Reason { code: "overloaded", message: "Too many requests at once, please try again" },
            None,
        )
    }

    const UNAVAILABLE: Reason =
        Reason { code: "unavailable", message: "The service is temporarily unavailable" };

    /// The stable code of every kind of error.
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
            | Self::Full(reason)
            | Self::Unavailable(reason, _) => reason.code,
            Self::Internal(_) => "internal_error",
        }
    }
}

/// Two errors are the same if a client cannot tell them apart.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Invalid(mine), Self::Invalid(theirs)) => mine == theirs,
            _ => self.code() == other.code() && self.to_string() == other.to_string(),
        }
    }
}

/// A value that breaks a rule of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the field in the request.
    pub field: &'static str,
    /// The kind of rule.
    pub rule: Rule,
    /// What the value should be; never the value itself.
    pub message: String,
}

/// The kinds of rules that a value can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Fewer characters than the minimum.
    TooShort,
    /// More characters than the maximum.
    TooLong,
    /// Anything else about the value.
    Value,
}

impl Violation {
    /// The value is not what it should be.
    pub fn value(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, rule: Rule::Value, message: message.into() }
    }

    /// Refuses the character NUL, which PostgreSQL cannot store.
    pub(crate) fn check_nul(field: &'static str, value: &str) -> Result<(), Self> {
        if value.contains('\0') {
            return Err(Self::value(field, "String should not contain the character NUL"));
        }
        Ok(())
    }

    /// Checks a length in characters.
    pub(crate) fn check_length(field: &'static str, value: &str, min: usize, max: usize) -> Result<(), Self> {
        let length = value.chars().count();
        let plural = |n: usize| if n == 1 { "character" } else { "characters" };
        if length < min {
            let message = format!("String should have at least {min} {}", plural(min));
            Err(Self { field, rule: Rule::TooShort, message })
        } else if length > max {
            let message = format!("String should have at most {max} {}", plural(max));
            Err(Self { field, rule: Rule::TooLong, message })
        } else {
            Ok(())
        }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(vec![violation])
    }
}
