//! Requests that are refused before the engine sees them.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
};
use api_types::ProblemKind;

/// Seconds in `Retry-After`.
const RETRY_SECONDS: u8 = 5;

/// Why a request did not reach the engine. Its response is a problem object (RFC 9457).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is not a valid Engine.IO request.
    #[error("Bad request")]
    BadRequest,
    /// A page of an origin that is not allowed opens a websocket.
    #[error("This origin may not connect")]
    OriginNotAllowed,
    /// The message exceeds the limit.
    #[error("Payload too large")]
    TooLarge,
    /// The client exceeded its byte budget.
    #[error("Too much data at once, please try again")]
    TooMuchData,
    /// The client sends a message while another one of its session is arriving.
    #[error("A session sends one message at a time")]
    OverlappingMessages,
    /// The address has too many connections.
    #[error("Too many connections, please try again")]
    TooManyConnections,
    /// The server is stopping.
    #[error("The server is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// All refusals.
    pub const ALL: [Self; 7] = [
        Self::BadRequest,
        Self::OriginNotAllowed,
        Self::TooLarge,
        Self::TooMuchData,
        Self::OverlappingMessages,
        Self::TooManyConnections,
        Self::ShuttingDown,
    ];

    /// Returns the stable code of the problem.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::TooLarge => "payload_too_large",
            Self::TooMuchData => "too_much_data",
            Self::OverlappingMessages => "overlapping_messages",
            Self::TooManyConnections => "too_many_connections",
            Self::ShuttingDown => "shutting_down",
        }
    }

    fn kind(self) -> &'static ProblemKind {
        ProblemKind::find(self.code()).unwrap_or_else(|| ProblemKind::of_status(400))
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.kind().status).unwrap_or(StatusCode::BAD_REQUEST)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        if matches!(self.kind().status, 429 | 503) {
            response.insert_header((RETRY_AFTER, RETRY_SECONDS.to_string()));
        }
        let problem = self.kind().with_detail(self.to_string());
        response.body(serde_json::to_vec(&problem).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_problem_kind() {
        for refusal in Refusal::ALL {
            assert_eq!(refusal.kind().code, refusal.code());
        }
    }
}
