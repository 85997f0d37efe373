//! Reads request bodies within limits of size. Those of time and memory are limits of the stream.

use actix_web::{HttpMessage as _, HttpRequest, dev::Payload, http::header};
use domain::users::UserId;
use futures_util::StreamExt as _;
use url::form_urlencoded;

use super::{
    body_stream::BodyShare,
    fields::{Fields, FromFields},
    limits::{BodyLimits, payload_error, too_large},
    multipart::{self, FileReceiver},
    parts::Parts,
};
use crate::error::{ApiError, Result};

/// Memory for a body whose announced length is not believed before it arrives.
const INITIAL_BODY_BYTES: usize = 4 * 1024;

/// The format of a body, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyFormat {
    Json,
    Form,
    Multipart,
}

/// Returns the format. Without a content type the body is JSON. Compressed bodies are refused: it would not be clear what
/// their limits mean.
fn format_of(request: &HttpRequest) -> Result<BodyFormat> {
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING);
    if encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::compressed_body());
    }
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Ok(BodyFormat::Json) };
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    match value.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => Ok(BodyFormat::Form),
        "multipart/form-data" => Ok(BodyFormat::Multipart),
        json if json == "application/json"
            || (json.starts_with("application/") && json.ends_with("+json")) =>
        {
            Ok(BodyFormat::Json)
        }
        _ => Err(ApiError::of_status(415)),
    }
}

/// Returns whether the body is JSON by its content type.
pub(super) fn is_json(request: &HttpRequest) -> bool {
    matches!(format_of(request), Ok(BodyFormat::Json))
}

/// Reads a body without files into memory.
async fn read_all(request: &HttpRequest, payload: &mut Payload, max_bytes: usize) -> Result<Vec<u8>> {
    let content_length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if content_length.is_some_and(|length| length > max_bytes) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(content_length.unwrap_or(0).min(INITIAL_BODY_BYTES));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| payload_error(&error))?;
        if body.len() + chunk.len() > max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads the JSON body of a `T`.
pub(super) async fn read_json<T: FromFields>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<Vec<u8>> {
    if format_of(request)? != BodyFormat::Json {
        return Err(ApiError::of_status(415));
    }
    read_all(request, payload, T::MAX_BODY_BYTES).await
}

/// Reads the JSON body of a `T` that may be absent or null.
pub(super) async fn read_optional_json<T: FromFields>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<Option<Fields>> {
    let headers = request.headers();
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if !has_body {
        return Ok(None);
    }
    let body = read_json::<T>(request, payload).await?;
    if body.trim_ascii() == b"null" { Ok(None) } else { Fields::from_json(&body).map(Some) }
}

/// Reads the body of a `T` in any format. Without an uploader, files are ignored.
pub(crate) async fn read_form<T: FromFields>(
    request: &HttpRequest,
    mut payload: Payload,
    limits: &BodyLimits,
    uploader: Option<UserId>,
) -> Result<Fields> {
    match format_of(request)? {
        BodyFormat::Json => Fields::from_json(&read_all(request, &mut payload, T::MAX_BODY_BYTES).await?),
        BodyFormat::Form => {
            let body = read_all(request, &mut payload, T::MAX_BODY_BYTES).await?;
            Ok(Fields::from_form(form_urlencoded::parse(&body).into_owned(), None))
        }
        BodyFormat::Multipart => {
            let memory = request.extensions().get::<BodyShare>().cloned();
            let receiver = uploader.map(|user| FileReceiver { limits, user, memory });
            multipart::read(Parts::new(request, payload)?, T::MAX_BODY_BYTES, receiver).await
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn format(content_type: &str) -> Result<BodyFormat, &'static str> {
        let request =
            TestRequest::post().insert_header((header::CONTENT_TYPE, content_type)).to_http_request();
        format_of(&request).map_err(|error| error.code())
    }

    #[test]
    fn content_type_determines_the_format() {
        assert_eq!(format("application/json; charset=utf-8"), Ok(BodyFormat::Json));
        assert_eq!(format("application/vnd.api+JSON"), Ok(BodyFormat::Json));
        assert_eq!(format("application/x-www-form-urlencoded"), Ok(BodyFormat::Form));
        assert_eq!(format("multipart/form-data; boundary=x"), Ok(BodyFormat::Multipart));
        for other in ["text/plain", "application/xml", "", "multipart/mixed", "image/png"] {
            assert_eq!(format(other), Err("unsupported_media_type"), "{other}");
        }
        assert_eq!(format_of(&TestRequest::post().to_http_request()).ok(), Some(BodyFormat::Json));
    }

    #[test]
    fn compressed_bodies_are_refused() {
        for (encoding, is_accepted) in
            [("gzip", false), ("br, identity", false), ("", false), ("Identity", true)]
        {
            let request = TestRequest::post().insert_header((header::CONTENT_ENCODING, encoding));
            assert_eq!(format_of(&request.to_http_request()).is_ok(), is_accepted, "{encoding}");
        }
    }
}
