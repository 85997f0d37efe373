//! Reads request bodies within limits of size and time.

use actix_multipart::Multipart;
use actix_web::{HttpRequest, dev::Payload, error::PayloadError, http::header, web::Bytes};
use domain::users::UserId;
use url::form_urlencoded;

use super::{
    body_reader::{BodyReader, Deadlines, MAX_TEXT_BYTES, too_large},
    fields::Fields,
    multipart,
};
use crate::error::{ApiError, Result};

/// The format of a body, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyFormat {
    Json,
    Form,
    Multipart,
}

/// Returns the format. Without a content type the body is JSON.
fn format_of(request: &HttpRequest) -> Result<BodyFormat> {
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
        _ => Err(unsupported()),
    }
}

/// Returns whether the body is JSON by its content type.
pub(super) fn is_json(request: &HttpRequest) -> bool {
    matches!(format_of(request), Ok(BodyFormat::Json))
}

fn unsupported() -> ApiError {
    ApiError::of_status(415)
}

fn payload_error(error: &PayloadError) -> ApiError {
    match error {
        PayloadError::Overflow => too_large(),
        _ => ApiError::new("bad_request", "The body is broken"),
    }
}

/// Reads a body without files into memory.
async fn read_all(
    request: &HttpRequest,
    payload: &mut Payload,
    deadlines: &Deadlines<'_>,
) -> Result<Vec<u8>> {
    let content_length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if content_length.is_some_and(|length| length > MAX_TEXT_BYTES) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(content_length.unwrap_or(0));
    while let Some(chunk) = deadlines.next(payload).await? {
        let chunk: Bytes = chunk.map_err(|error| payload_error(&error))?;
        if body.len() + chunk.len() > MAX_TEXT_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads a JSON body.
pub(super) async fn read_json(
    request: &HttpRequest,
    payload: &mut Payload,
    reader: &BodyReader,
) -> Result<Fields<'static>> {
    Fields::from_json(&read_json_bytes(request, payload, reader).await?)
}

/// Reads a JSON body that may be absent or null.
pub(super) async fn read_optional_json(
    request: &HttpRequest,
    payload: &mut Payload,
    reader: &BodyReader,
) -> Result<Option<Fields<'static>>> {
    let headers = request.headers();
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if !has_body {
        return Ok(None);
    }
    let body = read_json_bytes(request, payload, reader).await?;
    if body.trim_ascii() == b"null" { Ok(None) } else { Fields::from_json(&body).map(Some) }
}

async fn read_json_bytes(
    request: &HttpRequest,
    payload: &mut Payload,
    reader: &BodyReader,
) -> Result<Vec<u8>> {
    if format_of(request)? != BodyFormat::Json {
        return Err(unsupported());
    }
    read_all(request, payload, &Deadlines::start(reader)).await
}

/// Reads a body of any format. Without an uploader, files are ignored.
pub(crate) async fn read_form(
    request: &HttpRequest,
    mut payload: Payload,
    reader: &BodyReader,
    uploader: Option<UserId>,
) -> Result<Fields<'static>> {
    let deadlines = Deadlines::start(reader);
    match format_of(request)? {
        BodyFormat::Json => Fields::from_json(&read_all(request, &mut payload, &deadlines).await?),
        BodyFormat::Form => {
            let body = read_all(request, &mut payload, &deadlines).await?;
            Ok(Fields::from_form(form_urlencoded::parse(&body).into_owned(), None))
        }
        BodyFormat::Multipart => {
            multipart::read(Multipart::new(request.headers(), payload), deadlines, uploader).await
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
}
