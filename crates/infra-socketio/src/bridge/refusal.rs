//! What the bridge itself refuses, and refusals of the engine made whole.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
};
use api_types::{ProblemDetails, ProblemKind};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;

/// The message of every refused connection.
pub(crate) const REJECTED: &str = "Connection rejected by server";

/// Why the bridge did not hand a request to the engine. As a response it is a problem object (RFC 9457).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read as a request of Socket.IO.
    #[error("Bad request")]
    BadRequest,
    /// A page of an origin that is not listed wants a websocket.
    #[error("This origin may not connect")]
    ForeignOrigin,
    /// The message is larger than what is taken.
    #[error("Payload too large")]
    TooLarge,
    /// The client has sent too much in too short a time.
    #[error("Too much data at once, please try again")]
    TooMuchData,
    /// The address has as many connections as it may.
    #[error("Too many connections, please try again")]
    TooManyConnections,
    /// The server is about to stop.
    #[error("The server is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// All of them, for documentation.
    pub const ALL: [Self; 6] = [
        Self::BadRequest,
        Self::ForeignOrigin,
        Self::TooLarge,
        Self::TooMuchData,
        Self::TooManyConnections,
        Self::ShuttingDown,
    ];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::ForeignOrigin => "origin_not_allowed",
            Self::TooLarge => "payload_too_large",
            Self::TooMuchData => "too_much_data",
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
            response.insert_header((RETRY_AFTER, "5"));
        }
        let problem = self.kind().with_detail(self.to_string());
        response.body(serde_json::to_vec(&problem).unwrap_or_default())
    }
}

/// The refusal as the library sends it: it knows a message, but no data.
fn bare() -> String {
    json!({ "message": REJECTED }).to_string()
}

fn whole(problem: &ProblemDetails) -> String {
    json!({ "message": REJECTED, "data": problem }).to_string()
}

/// The payload of a polling response with `problem` as the data of the refusal in it; `None` if there is none in it.
pub(super) fn in_payload(payload: &[u8], problem: &ProblemDetails) -> Option<Bytes> {
    let bare = format!("44{}", bare());
    let at = find(payload, bare.as_bytes())?;
    let whole = format!("44{}", whole(problem));
    Some([&payload[..at], whole.as_bytes(), &payload[at + bare.len()..]].concat().into())
}

/// The bytes of a websocket up to the refusal, with `problem` as its data; `None` if it is not there yet.
pub(super) fn in_frames(bytes: &[u8], problem: &ProblemDetails) -> Option<Bytes> {
    let bare = frame(&format!("44{}", bare()));
    let at = find(bytes, &bare)?;
    let whole = frame(&format!("44{}", whole(problem)));
    Some([&bytes[..at], &whole].concat().into())
}

/// How many bytes at the end may be the beginning of the refusal.
pub(super) fn begun(bytes: &[u8]) -> usize {
    let bare = frame(&format!("44{}", bare()));
    (1..bare.len().min(bytes.len() + 1)).rev().find(|&begun| bytes.ends_with(&bare[..begun])).unwrap_or(0)
}

/// An unmasked text frame (RFC 6455, section 5.2).
fn frame(text: &str) -> BytesMut {
    let mut frame = BytesMut::with_capacity(text.len() + 10);
    frame.put_u8(0x81);
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ ..126), _) => frame.put_u8(length),
        (_, Ok(length)) => {
            frame.put_u8(126);
            frame.put_u16(length);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(text.len() as u64);
        }
    }
    frame.put_slice(text.as_bytes());
    frame
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use domain::Error;
    use serde_json::Value;

    use super::*;

    fn problem() -> ProblemDetails {
        ProblemDetails::from(&Error::INVALID_TOKEN)
    }

    #[test]
    fn every_refusal_has_a_problem_kind() {
        for refusal in Refusal::ALL {
            assert_eq!(refusal.kind().code, refusal.code());
        }
    }

    #[test]
    fn a_refusal_by_polling_gets_its_data() {
        let payload = format!("2\u{1e}44{}\u{1e}6", bare());
        let whole = in_payload(payload.as_bytes(), &problem()).unwrap();
        let text = std::str::from_utf8(&whole).unwrap();
        let packet = text.split('\u{1e}').nth(1).unwrap().strip_prefix("44").unwrap();
        let packet: Value = serde_json::from_str(packet).unwrap();
        assert_eq!(packet, json!({"message": REJECTED, "data": problem()}));
        assert!(text.ends_with("\u{1e}6"));
    }

    #[test]
    fn a_refusal_by_websocket_gets_its_data_and_is_the_last_frame() {
        let sent = [frame("2"), frame(&format!("44{}", bare())), frame("later")].concat();
        let problem = ProblemDetails { detail: "d".repeat(200), ..problem() };
        let whole_bytes = in_frames(&sent, &problem).unwrap();
        assert_eq!(whole_bytes, [frame("2"), frame(&format!("44{}", whole(&problem)))].concat());
        assert_eq!(whole_bytes[4], 126);
    }

    #[test]
    fn a_refusal_that_comes_in_pieces_is_waited_for() {
        let refusal = frame(&format!("44{}", bare()));
        let sent = [frame("3probe").as_ref(), &refusal[..10]].concat();
        assert_eq!(begun(&sent), 10);
        assert_eq!(begun(&refusal[..1]), 1);
        assert_eq!(begun(&frame("3probe")), 0);
        assert_eq!(begun(b""), 0);
    }

    #[test]
    fn what_is_no_refusal_stays_as_it_is() {
        assert_eq!(in_payload(b"2", &problem()), None);
        assert_eq!(in_frames(&frame("2"), &problem()), None);
    }
}
