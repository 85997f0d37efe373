//! Completes the `CONNECT_ERROR` packets of refused clients: the library sends a message without the `data` that the
//! contract promises, so the packet is rewritten on its way out.

use api_types::ProblemDetails;
use bytes::{BufMut, Bytes, BytesMut};
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

/// Adds `problem` to the refusal in the frames of a websocket, and drops what follows it. `None` if the frames contain
/// no whole refusal.
pub(crate) fn complete_frames(bytes: &[u8], problem: &ProblemDetails) -> Option<Bytes> {
    let at = find(bytes, &text_frame(&bare_packet()))?;
    Some([&bytes[..at], &text_frame(&complete_packet(problem))].concat().into())
}

/// Returns the number of bytes at the end that may be the beginning of the refusal.
pub(crate) fn partial_length(bytes: &[u8]) -> usize {
    let bare = text_frame(&bare_packet());
    let lengths = 1..bare.len().min(bytes.len() + 1);
    lengths.rev().find(|&length| bytes.ends_with(&bare[..length])).unwrap_or(0)
}

/// An unmasked text frame (RFC 6455, section 5.2).
fn text_frame(text: &str) -> BytesMut {
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
    fn refusal_on_a_websocket_gets_its_data_and_is_the_last_frame() {
        let sent = [text_frame("2"), text_frame(&bare_packet()), text_frame("later")].concat();
        let problem = ProblemDetails { detail: "d".repeat(200), ..problem() };
        let complete = complete_frames(&sent, &problem).unwrap();
        assert_eq!(complete, [text_frame("2"), text_frame(&complete_packet(&problem))].concat());
        assert_eq!(complete[4], 126);
    }

    #[test]
    fn partial_refusal_is_recognized() {
        let refusal = text_frame(&bare_packet());
        let sent = [text_frame("3probe").as_ref(), &refusal[..10]].concat();
        assert_eq!(partial_length(&sent), 10);
        assert_eq!(partial_length(&refusal[..1]), 1);
        assert_eq!(partial_length(&text_frame("3probe")), 0);
        assert_eq!(partial_length(b""), 0);
    }

    #[test]
    fn other_packets_stay_unchanged() {
        assert_eq!(complete_payload(b"2", &problem()), None);
        assert_eq!(complete_frames(&text_frame("2"), &problem()), None);
    }
}
