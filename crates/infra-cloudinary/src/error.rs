//! Errors of API requests.

use reqwest::StatusCode;
use serde::Deserialize;

/// A failed API request. Texts are safe to log: they contain no URL, no credentials and nothing of the response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("Cloudinary did not respond in time")]
    Timeout,
    #[error("failed to connect to Cloudinary")]
    Connect,
    #[error("the connection to Cloudinary was lost")]
    ConnectionLost,
    #[error("Cloudinary responded with status {0}")]
    Status(u16),
    #[error("Cloudinary failed to load the file to copy")]
    SourceNotFound,
    #[error("invalid response from Cloudinary")]
    InvalidResponse,
    #[error("Cloudinary returned a URL of another account")]
    ForeignUrl,
    #[error("invalid media key")]
    InvalidKey,
}

impl From<reqwest::Error> for RequestError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::Connect
        } else {
            Self::ConnectionLost
        }
    }
}

/// Body of an error response.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorMessage,
}

#[derive(Deserialize)]
struct ErrorMessage {
    message: String,
}

impl RequestError {
    /// Classifies an error response. A missing source of a copy is recognizable by the message only.
    pub(crate) fn from_response(status: StatusCode, body: &[u8]) -> Self {
        let is_source_missing = serde_json::from_slice::<ErrorBody>(body).is_ok_and(|body| {
            let message = body.error.message;
            message.ends_with("404 Not Found") || message.starts_with("Resource not found")
        });
        if is_source_missing { Self::SourceNotFound } else { Self::Status(status.as_u16()) }
    }
}
