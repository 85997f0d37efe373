//! Completes the `CONNECT_ERROR` packets of refused clients: the library sends a message without the `data` that the
//! contract promises, so the packet is rewritten on its way out.

use actix_http::ws::{OpCode, Parser};
use api_types::ProblemDetails;
use bytes::{Bytes, BytesMut};
use serde_json::json;

/// The message of every refused connection.
pub(crate) const REJECTED: &str = "Connection rejected by server";

/// The packet as the library sends it.
fn bare_packet() -> String {
    format!("44{}", json!({ "message": REJECTED }))
}

fn complete_packet(problem: &ProblemDetails) -> String {
    format!("44{}", json!({ "message": REJECTED, "data": problem }))
}

/// Adds `problem` to the refusal in the payload of a polling response. `None` if the payload contains no refusal.
pub(crate) fn complete_payload(payload: &[u8], problem: &ProblemDetails) -> Option<Bytes> {
    let bare = bare_packet();
    let at = find(payload, bare.as_bytes())?;
    let complete = complete_packet(problem);
    Some([&payload[..at], complete.as_bytes(), &payload[at + bare.len()..]].concat().into())
}

/// Returns where the refusal begins in the frames of a websocket.
pub(crate) fn find_frame(frames: &[u8]) -> Option<usize> {
    find(frames, &text_frame(&bare_packet()))
}

/// Returns the refusal with `problem`, as a frame of a websocket.
pub(crate) fn complete_frame(problem: &ProblemDetails) -> Bytes {
    text_frame(&complete_packet(problem))
}

fn text_frame(text: &str) -> Bytes {
    let mut frame = BytesMut::new();
    Parser::write_message(&mut frame, text, OpCode::Text, true, false);
    frame.freeze()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
pub(super) mod tests {
    use domain::Error;
    use serde_json::Value;

    use super::*;

    fn problem() -> ProblemDetails {
        ProblemDetails::from(&Error::INVALID_TOKEN)
    }

    /// Returns the frames of a message and of a refusal as the library writes them, and as the client should get them.
    pub(crate) fn refused_frames(message: &str, problem: &ProblemDetails) -> (Vec<u8>, Vec<u8>) {
        let message = text_frame(message);
        (
            [&message[..], &text_frame(&bare_packet())].concat(),
            [&message[..], &complete_frame(problem)].concat(),
        )
    }

    #[test]
    fn refusal_in_a_polling_payload_gets_its_data() {
        let payload = format!("2\u{1e}{}\u{1e}6", bare_packet());
        let complete = complete_payload(payload.as_bytes(), &problem()).unwrap();
        let text = std::str::from_utf8(&complete).unwrap();
        let packet = text.split('\u{1e}').nth(1).unwrap().strip_prefix("44").unwrap();
        let packet: Value = serde_json::from_str(packet).unwrap();
        assert_eq!(packet, json!({"message": REJECTED, "data": problem()}));
        assert!(text.ends_with("\u{1e}6"));
    }

    #[test]
    fn refusal_on_a_websocket_gets_its_data() {
        let sent = [text_frame("2"), text_frame(&bare_packet()), text_frame("later")].concat();
        assert_eq!(find_frame(&sent), Some(text_frame("2").len()));
        let problem = ProblemDetails { detail: "d".repeat(200), ..problem() };
        let complete = complete_frame(&problem);
        let (header, payload) = complete.split_at(4);
        assert_eq!(header, [&[0x81, 126], &u16::try_from(payload.len()).unwrap().to_be_bytes()[..]].concat());
        assert_eq!(payload, complete_packet(&problem).as_bytes());
    }

    #[test]
    fn other_packets_stay_unchanged() {
        assert_eq!(complete_payload(b"2", &problem()), None);
        assert_eq!(find_frame(&text_frame("2")), None);
    }
}
