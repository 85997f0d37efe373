//! Answers that are no success.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use api_types::{ProblemDetails, ProblemKind};
use domain::{Error, Rule, Violation};
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::seconds;

/// A part of a request that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where: `body`, `query` or `path`, then the name.
    #[schema(example = json!(["body", "username"]))]
    pub loc: Vec<String>,
    /// What is wrong.
    #[schema(example = "Field required")]
    pub msg: String,
    /// Which kind of mistake.
    #[serde(rename = "type")]
    #[schema(example = "missing")]
    pub kind: &'static str,
}

impl FieldError {
    /// A mistake of this kind in `place`, at `name`.
    pub(crate) fn new(place: &str, name: &str, kind: &'static str, msg: impl Into<String>) -> Self {
        let loc =
            if name.is_empty() { vec![place.to_owned()] } else { vec![place.to_owned(), name.to_owned()] };
        Self { loc, msg: msg.into(), kind }
    }

    /// A value that broke a rule of the domain.
    pub(crate) fn of(place: &str, violation: &Violation) -> Self {
        let kind = match violation.rule {
            Rule::TooShort => "string_too_short",
            Rule::TooLong => "string_too_long",
            Rule::Value => "value_error",
        };
        Self::new(place, violation.field, kind, violation.message.clone())
    }

    fn in_words(&self) -> String {
        let name = self.loc.get(1..).unwrap_or_default().join(".");
        if name.is_empty() { self.msg.clone() } else { format!("{name}: {}", self.msg) }
    }
}

/// The body of every answer from 400 on (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    #[serde(flatten)]
    details: ProblemDetails,
    /// The id of the request, which the log has too.
    #[schema(example = "h2Bx7mJkQ0aZ")]
    request_id: String,
    /// Every mistake in the input, of a 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct ApiError {
    problem: &'static ProblemKind,
    detail: String,
    errors: Vec<FieldError>,
    /// The methods that the path has, of a 405.
    allow: Option<String>,
    /// When to come back, if that is known.
    retry_after: Option<Duration>,
    /// What happened inside, for the log alone.
    source: Option<Box<Error>>,
}

/// What handlers answer.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// A problem of the HTTP layer; its title is its text.
    pub(crate) fn new(code: &str, detail: &str) -> Self {
        let problem = ProblemKind::find(code).unwrap_or_else(|| ProblemKind::of_status(500));
        Self {
            problem,
            detail: detail.to_owned(),
            errors: Vec::new(),
            allow: None,
            retry_after: None,
            source: None,
        }
    }

    /// The generic problem of a status, for answers that the framework made.
    pub(crate) fn of_status(status: u16) -> Self {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        Self::new(ProblemKind::of_status(status).code, reason.unwrap_or("Bad Request"))
    }

    /// A path that is there, with other methods.
    pub(crate) fn method_not_allowed(allow: &str) -> Self {
        Self { allow: Some(allow.to_owned()), ..Self::of_status(405) }
    }

    /// More than the caller may do.
    pub(crate) fn rate_limited(retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new("rate_limited", "Too many requests") }
    }

    /// Input that is not what it should be.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.first().map(FieldError::in_words).unwrap_or_default();
        Self { errors, ..Self::new("validation_error", &detail) }
    }

    /// What happened inside, if it is a fault.
    pub(crate) fn fault(&self) -> Option<&Error> {
        self.source.as_deref()
    }

    /// The mistakes in the input.
    #[cfg(test)]
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        self.problem.status
    }

    /// The stable code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.problem.code
    }

    /// The answer.
    pub(crate) fn render(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json");
        match self.problem.status {
            401 => drop(response.insert_header((header::WWW_AUTHENTICATE, "Bearer"))),
            429 | 503 => {
                let wait = self.retry_after.map_or(2, seconds).max(1);
                response.insert_header((header::RETRY_AFTER, wait.to_string()));
            }
            _ => {}
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        let body = Problem {
            details: self.problem.with_detail(self.detail.clone()),
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
        };
        response.body(serde_json::to_vec(&body).unwrap_or_default())
    }
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

    /// Without the request's id: `observe.rs`, which knows it, renders anew.
    fn error_response(&self) -> HttpResponse {
        self.render("")
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(violations) => {
                Self::invalid(violations.iter().map(|violation| FieldError::of("body", violation)).collect())
            }
            Error::Internal(_) => {
                Self { source: Some(Box::new(error)), ..Self::new("internal_error", "Internal Server Error") }
            }
            other => {
                let api_error = Self::new(other.code(), &other.to_string());
                let source = matches!(other, Error::Unavailable(..) | Error::Upstream(_) | Error::Full(_))
                    .then(|| Box::new(other));
                Self { source, ..api_error }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_a_fault_is_kept_for_the_log_and_told_to_nobody() {
        let error = ApiError::from(Error::internal("password of the database"));
        assert!(error.fault().is_some());
        assert_eq!(error.to_string(), "Internal Server Error");
    }

    #[test]
    fn the_first_mistake_is_told_in_words() {
        let errors = vec![
            FieldError::new("body", "username", "missing", "Field required"),
            FieldError::new("body", "email", "missing", "Field required"),
        ];
        assert_eq!(ApiError::invalid(errors).to_string(), "username: Field required");
        let whole = vec![FieldError::new("body", "", "json_invalid", "JSON decode error")];
        assert_eq!(ApiError::invalid(whole).to_string(), "JSON decode error");
    }
}
