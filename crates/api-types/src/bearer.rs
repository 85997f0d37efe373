//! The `Authorization` header.

/// Returns the token of an `Authorization` header value with the scheme `Bearer`, in any case (RFC 6750, section 2.1).
/// `None` if the scheme is another one, if there is no token, or if the value is not UTF-8.
pub fn bearer_token(header: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns the token of the `Authorization` headers of a request. Several are ambiguous: they count as an empty token, which
/// is never valid.
pub fn request_token<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<&'a str> {
    let mut headers = headers.into_iter();
    let header = headers.next()?;
    if headers.next().is_some() { Some("") } else { bearer_token(header) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_token_accepts_any_case_and_extra_spaces() {
        for header in ["Bearer abc", "bearer  abc", " BEARER abc "] {
            assert_eq!(bearer_token(header.as_bytes()), Some("abc"), "{header:?}");
        }
    }

    #[test]
    fn several_headers_are_not_a_valid_token() {
        assert_eq!(request_token([]), None);
        assert_eq!(request_token([&b"Bearer abc"[..]]), Some("abc"));
        assert_eq!(request_token([&b"Bearer abc"[..], b"Bearer abc"]), Some(""));
    }

    #[test]
    fn bearer_token_returns_none_without_a_scheme_or_a_token() {
        for header in [&b"abc"[..], b"Basic abc", b"Bearer", b"Bearer ", b"", b"Bearer \xff"] {
            assert_eq!(bearer_token(header), None, "{header:?}");
        }
    }
}
