//! Splits a multipart body (RFC 7578) into its parts.
//!
//! Of a part's headers only the name of the field counts, and whether there is a file name. Clients write many things
//! into the rest: file names in other encodings, content types of their own.

use actix_web::{
    HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header,
    web::{Bytes, BytesMut},
};
use futures_util::StreamExt as _;

use super::limits::{malformed, payload_error, too_large};
use crate::error::{ApiError, Result};

const MAX_BOUNDARY_LENGTH: usize = 200;
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 32;

/// The name of a field, and whether it is a file.
pub(super) struct PartHead {
    pub(super) name: String,
    pub(super) is_file: bool,
}

/// The parts of a body that is being received.
pub(super) struct Parts {
    payload: Payload,
    /// Received bytes that have not been returned.
    buffer: BytesMut,
    /// What ends a part: a line break, two hyphens and the boundary.
    delimiter: Vec<u8>,
}

fn broken() -> ApiError {
    malformed("The multipart body is broken")
}

impl Parts {
    /// Reads the boundary of the body.
    pub(super) fn new(request: &HttpRequest, payload: Payload) -> Result<Self> {
        let content_type = request.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
        let boundary = content_type.and_then(|value| parameter(value, b"boundary")?);
        let boundary = boundary.filter(|boundary| (1..=MAX_BOUNDARY_LENGTH).contains(&boundary.len()));
        let boundary = boundary.ok_or_else(|| malformed("The multipart boundary is missing"))?;
        // The first delimiter may be at the start, without a line break.
        Ok(Self {
            payload,
            buffer: BytesMut::from(&b"\r\n"[..]),
            delimiter: [b"\r\n--", &*boundary].concat(),
        })
    }

    /// Skips the rest of the current part and returns the head of the next one; `None` after the last.
    pub(super) async fn next_part(&mut self) -> Result<Option<PartHead>> {
        while self.next_chunk().await?.is_some() {}
        let _ = self.buffer.split_to(self.delimiter.len());
        let line_end = self.find(b"\r\n").await;
        if self.buffer.starts_with(b"--") {
            return Ok(None);
        }
        let padding = self.buffer.split_to(line_end?);
        if padding.iter().any(|byte| !matches!(byte, b' ' | b'\t')) {
            return Err(broken());
        }
        let end = self.find(b"\r\n\r\n").await?;
        if end > MAX_HEADER_BYTES {
            return Err(too_large());
        }
        let head = self.buffer.split_to(end + 4);
        parse_head(&head[2..]).map(Some)
    }

    /// Returns the next bytes of the current part; `None` at its end.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            match position(&self.buffer, &self.delimiter) {
                Some(0) => return Ok(None),
                Some(end) => return Ok(Some(self.buffer.split_to(end).freeze())),
                None => {}
            }
            // The last bytes may be the start of the delimiter.
            let end = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if end > 0 {
                return Ok(Some(self.buffer.split_to(end).freeze()));
            }
            self.receive().await?;
        }
    }

    /// Returns the offset of `bytes` in the buffer, which is filled as far as needed.
    async fn find(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut searched = 0;
        loop {
            if let Some(at) = position(&self.buffer[searched..], bytes) {
                return Ok(searched + at);
            }
            if self.buffer.len() > MAX_HEADER_BYTES {
                return Err(too_large());
            }
            searched = self.buffer.len().saturating_sub(bytes.len() - 1);
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<()> {
        let chunk = self.payload.next().await.ok_or_else(broken)?;
        let chunk = chunk.map_err(|error| match error {
            error @ (PayloadError::Overflow | PayloadError::Io(_)) => payload_error(&error),
            _ => broken(),
        })?;
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }
}

/// Returns the offset of `part` in `bytes`.
fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == part[0])?;
        if bytes[at..].starts_with(part) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn parse_head(head: &[u8]) -> Result<PartHead> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let Ok(httparse::Status::Complete((_, headers))) = httparse::parse_headers(head, &mut headers) else {
        return Err(broken());
    };
    let is_disposition =
        |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-disposition");
    let disposition = headers.iter().find(is_disposition).map(|header| header.value).ok_or_else(broken)?;
    let kind = disposition.split(|byte| *byte == b';').next().unwrap_or_default();
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return Err(broken());
    }
    let parameter = |name: &[u8]| parameter(disposition, name).ok_or_else(broken);
    let name = parameter(b"name")?.ok_or_else(|| malformed("A part has no name"))?;
    let name = String::from_utf8(name).map_err(|_| malformed("The name of a part is not UTF-8"))?;
    Ok(PartHead { name, is_file: parameter(b"filename")?.is_some() || parameter(b"filename*")?.is_some() })
}

/// Returns a parameter of a header, which may be quoted, or `None` inside if there is none; `None` if the header is
/// malformed.
#[expect(clippy::option_option, reason = "a malformed header is not one without the parameter")]
fn parameter(header: &[u8], name: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut rest = skip_to(header, b';');
    while !rest.is_empty() {
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let found = rest[..equals].trim_ascii().eq_ignore_ascii_case(name);
        let value = rest[equals + 1..].trim_ascii_start();
        let (text, after) = if let Some(quoted) = value.strip_prefix(b"\"") {
            unquote(quoted)?
        } else {
            let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
            (value[..end].trim_ascii_end().to_owned(), &value[end..])
        };
        rest = skip_to(after, b';');
        if found {
            return Some(Some(text));
        }
    }
    Some(None)
}

/// Returns what follows the first `byte`.
fn skip_to(text: &[u8], byte: u8) -> &[u8] {
    let at = text.iter().position(|found| *found == byte);
    at.map_or(&[], |at| text[at + 1..].trim_ascii_start())
}

/// Splits a text after its opening quote into its content and what follows the closing quote.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Some((content, &text[at + 1..])),
            b'\\' => content.push(*bytes.next()?.1),
            _ => content.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[u8]) -> Option<(String, bool)> {
        let head = parse_head(&[headers, b"\r\n\r\n"].concat()).ok()?;
        Some((head.name, head.is_file))
    }

    #[test]
    fn name_and_presence_of_a_file_are_read_from_the_disposition() {
        for (headers, name, is_file) in [
            (&b"Content-Disposition: form-data; name=\"a\""[..], "a", false),
            (b"content-disposition:form-data;NAME=a ; filename=b", "a", true),
            (
                b"Content-Disposition: form-data; filename=\"\xFC; name=x.png\"; name=\"a;\\\"b\"",
                "a;\"b",
                true,
            ),
            (b"Content-Disposition: form-data; name=a; filename*=UTF-8''%FF", "a", true),
            (b"Content-Type: multipart/form-data\r\nContent-Disposition: form-data; name=a", "a", false),
        ] {
            assert_eq!(head(headers), Some((name.to_owned(), is_file)), "{}", headers.escape_ascii());
        }
    }

    #[test]
    fn head_without_a_name_of_a_form_field_is_refused() {
        for headers in [
            &b"Content-Type: text/plain"[..],
            b"Content-Disposition: form-data",
            b"Content-Disposition: attachment; name=a",
            b"Content-Disposition: form-data; name=\"a",
            b"Content-Disposition: form-data; name=\"\xFC\"",
            b"Content-Disposition: form-data; name=a; filename=\"b",
            b"no header",
        ] {
            assert_eq!(head(headers), None, "{}", headers.escape_ascii());
        }
    }
}
