//! Ids of requests and traces.

use actix_web::{
    dev::ServiceRequest,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::security_headers;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_REQUEST_ID_LENGTH: usize = 128;

/// Identifies a request in responses and in the log.
#[derive(Clone)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// Returns a new id. It need not be unpredictable, so it does not use the operating system's randomness.
    pub(crate) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>()))
    }

    /// Returns the `X-Request-Id` header if its value is safe to log, else a new id.
    pub(super) fn of(request: &ServiceRequest) -> Self {
        let received = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let is_safe = |id: &&str| {
            (1..=MAX_REQUEST_ID_LENGTH).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
        };
        match received.filter(is_safe) {
            Some(id) => Self(id.to_owned()),
            None => Self::random(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Sets the headers of every response: this id and the security headers.
    pub(crate) fn set_headers(&self, headers: &mut HeaderMap, is_https: bool) {
        if let Ok(id) = HeaderValue::from_str(&self.0) {
            headers.insert(REQUEST_ID, id);
        }
        security_headers::set(headers, is_https);
    }
}

/// Identifies the trace that a request belongs to: 32 hexadecimal digits.
pub(crate) struct TraceId(String);

impl TraceId {
    /// Returns the trace of the `traceparent` header (W3C Trace Context), or a new one if it is absent or malformed.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let received = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(Self::parse);
        received.unwrap_or_else(|| {
            let (high, low) = rand::random::<(u64, u64)>();
            Self(format!("{high:016x}{low:016x}"))
        })
    }

    pub(crate) fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, length| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_nonzero = |part: &str| part.bytes().any(|digit| digit != b'0');
        // Later versions may append parts.
        let has_valid_length = version != "ff" && (version != "00" || parts.next().is_none());
        let is_valid = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
        (is_valid && has_valid_length && is_nonzero(trace) && is_nonzero(parent))
            .then(|| Self(trace.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn valid_traceparent_is_continued_and_others_are_replaced() {
        let parsed = |text: &str| TraceId::parse(text).map(|trace| trace.0);
        let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
        assert_eq!(parsed(&valid).as_deref(), Some(TRACE));
        assert_eq!(parsed(&format!("01-{TRACE}-b7ad6b7169203331-01-more")).as_deref(), Some(TRACE));
        for invalid in [
            "",
            "00",
            &format!("{valid}-more"),
            &format!("ff-{TRACE}-b7ad6b7169203331-01"),
            &format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            &format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            &format!("00-{TRACE}-0000000000000000-01"),
        ] {
            assert_eq!(parsed(invalid), None, "{invalid}");
        }
        let generated = TraceId::of(&HeaderMap::new()).0;
        assert!(parsed(&format!("00-{generated}-b7ad6b7169203331-01")).is_some(), "{generated}");
    }
}
