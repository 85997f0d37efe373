//! Error responses.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
};
use api_types::{ProblemDetails, ProblemKind};
use domain::{Error, Rule, Violation};
use serde::Serialize;
use utoipa::ToSchema;

/// An invalid part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Location: `body`, `query` or `path`, then the name of the field.
    #[schema(example = json!(["body", "username"]))]
    pub loc: Vec<String>,
    /// Description of the error.
    #[schema(example = "Field required")]
    pub msg: String,
    /// Kind of error, in FastAPI's vocabulary.
    #[serde(rename = "type")]
    #[schema(example = "missing")]
    pub kind: &'static str,
}

impl FieldError {
    /// `part` is `body`, `query` or `path`; an empty `name` means the whole of it.
    pub(crate) fn new(part: &str, name: &str, kind: &'static str, msg: impl Into<String>) -> Self {
        let loc =
            if name.is_empty() { vec![part.to_owned()] } else { vec![part.to_owned(), name.to_owned()] };
        Self { loc, msg: msg.into(), kind }
    }

    /// The error for a value that violates a rule of its domain type.
    pub(crate) fn of(part: &str, violation: &Violation) -> Self {
        let kind = match violation.rule {
            Rule::TooShort => "string_too_short",
            Rule::TooLong => "string_too_long",
            Rule::Value => "value_error",
        };
        Self::new(part, violation.field, kind, violation.message.clone())
    }

    fn to_sentence(&self) -> String {
        let name = self.loc.get(1..).unwrap_or_default().join(".");
        if name.is_empty() { self.msg.clone() } else { format!("{name}: {}", self.msg) }
    }
}

/// The body of every error response (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    #[serde(flatten)]
    details: ProblemDetails,
    /// Id of the request, as in the `X-Request-Id` header and the server's log.
    #[schema(example = "h2Bx7mJkQ0aZ")]
    request_id: String,
    /// All errors in the input. Only with status 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// `Retry-After` if it is unknown when a retry may succeed.
const DEFAULT_RETRY_SECONDS: u64 = 2;

/// An error response.
#[derive(Debug)]
pub(crate) struct ApiError {
    problem: &'static ProblemKind,
    detail: String,
    errors: Vec<FieldError>,
    /// A header that tells how to recover.
    header: Option<(HeaderName, String)>,
    /// The internal cause, for the log only.
    internal_cause: Option<Box<Error>>,
}

/// The result of a handler.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// An error of the HTTP layer. `code` is one of the table of problems.
    pub(crate) fn new(code: &str, detail: &str) -> Self {
        let problem = ProblemKind::find(code).unwrap_or_else(|| ProblemKind::of_status(500));
        Self { problem, detail: detail.to_owned(), errors: Vec::new(), header: None, internal_cause: None }
    }

    /// The generic error of a status, for responses made by the framework.
    pub(crate) fn of_status(status: u16) -> Self {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        Self::new(ProblemKind::of_status(status).code, reason.unwrap_or("Bad Request"))
    }

    /// 405, with the methods that the path has.
    pub(crate) fn method_not_allowed(allow: &str) -> Self {
        Self { header: Some((header::ALLOW, allow.to_owned())), ..Self::of_status(405) }
    }

    /// 415, for a body with a `Content-Encoding`.
    pub(crate) fn compressed_body() -> Self {
        let header = Some((header::ACCEPT_ENCODING, "identity".to_owned()));
        Self { header, ..Self::new("unsupported_media_type", "Compressed bodies are not accepted") }
    }

    /// 429.
    pub(crate) fn rate_limited(retry_after: Duration) -> Self {
        let seconds = whole_seconds(retry_after).max(1).to_string();
        let header = Some((header::RETRY_AFTER, seconds));
        Self { header, ..Self::new("rate_limited", "Too many requests") }
    }

    /// 422. Its detail is the first of the errors.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.first().map(FieldError::to_sentence).unwrap_or_default();
        Self { errors, ..Self::new("validation_error", &detail) }
    }

    /// Returns the cause to be logged, if the error is not the client's.
    pub(crate) fn internal_cause(&self) -> Option<&Error> {
        self.internal_cause.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    pub(crate) fn status(&self) -> u16 {
        self.problem.status
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.problem.code
    }

    /// Returns the response, a problem object.
    pub(crate) fn to_response(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json");
        match self.problem.status {
            401 => drop(response.insert_header((header::WWW_AUTHENTICATE, "Bearer"))),
            429 | 503 => drop(response.insert_header((header::RETRY_AFTER, DEFAULT_RETRY_SECONDS))),
            _ => {}
        }
        if let Some(header) = self.header.clone() {
            response.insert_header(header);
        }
        let body = Problem {
            details: self.problem.with_detail(self.detail.clone()),
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
        };
        response.body(serde_json::to_vec(&body).unwrap_or_default())
    }
}

/// Returns a duration in seconds, rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Without the request's id: the problem middleware, which knows it, makes the response again.
    fn error_response(&self) -> HttpResponse {
        self.to_response("")
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(violations) => {
                Self::invalid(violations.iter().map(|violation| FieldError::of("body", violation)).collect())
            }
            Error::Internal(_) => Self {
                internal_cause: Some(Box::new(error)),
                ..Self::new("internal_error", "Internal Server Error")
            },
            other => {
                let api_error = Self::new(other.code(), &other.to_string());
                let internal_cause =
                    matches!(other, Error::Unavailable(..) | Error::Upstream(_) | Error::Full(_))
                        .then(|| Box::new(other));
                Self { internal_cause, ..api_error }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_cause_is_kept_for_the_log_and_never_sent() {
        let error = ApiError::from(Error::internal("password of the database"));
        assert!(error.internal_cause().is_some());
        assert_eq!(error.to_string(), "Internal Server Error");
    }

    #[test]
    fn detail_is_the_first_field_error() {
        let errors = vec![
            FieldError::new("body", "username", "missing", "Field required"),
            FieldError::new("body", "email", "missing", "Field required"),
        ];
        assert_eq!(ApiError::invalid(errors).to_string(), "username: Field required");
        let whole = vec![FieldError::new("body", "", "json_invalid", "JSON decode error")];
        assert_eq!(ApiError::invalid(whole).to_string(), "JSON decode error");
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
        assert_eq!(whole_seconds(Duration::from_millis(3001)), 4);
    }
}
