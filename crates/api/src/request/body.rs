//! Reads request bodies within limits of size and time.

use std::{path::PathBuf, time::Duration};

use actix_multipart::Multipart;
use actix_web::{HttpRequest, dev::Payload, error::PayloadError, http::header};
use application::media::MediaInspector;
use domain::users::UserId;
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use url::form_urlencoded;

use super::{
    fields::Fields,
    multipart,
    upload_slots::{UploadSlot, UploadSlots},
};
use crate::error::{ApiError, FieldError, Result};

/// Bounds the size of a body without its files: fits the longest post with every character escaped.
pub(super) const MAX_TEXT_BYTES: usize = 256 * 1024;

/// Limits of size and time for request bodies.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// Directory of files that are being received.
    pub upload_dir: PathBuf,
    /// Bounds the files that are being received.
    pub upload_slots: UploadSlots,
    /// Determines from its first bytes how large a file may be.
    pub inspector: MediaInspector,
    /// How long a client may send nothing.
    pub idle_timeout: Duration,
    /// How long a body may take in total.
    pub timeout: Duration,
}

/// The deadlines of a body that is being received.
pub(super) struct Deadlines<'a> {
    pub(super) limits: &'a BodyLimits,
    deadline: Instant,
}

impl<'a> Deadlines<'a> {
    pub(super) fn start(limits: &'a BodyLimits) -> Self {
        Self { limits, deadline: Instant::now() + limits.timeout }
    }

    /// Returns the next item of a stream.
    ///
    /// # Errors
    /// 408 if it takes too long.
    pub(super) async fn next<S: Stream + Unpin>(&self, stream: &mut S) -> Result<Option<S::Item>> {
        let deadline = self.deadline.min(Instant::now() + self.limits.idle_timeout);
        timeout_at(deadline, stream.next()).await.map_err(|_| ApiError::of_status(408))
    }

    /// Waits for an upload slot. The wait does not count towards the client's time.
    pub(super) async fn upload_slot(&mut self, user: UserId) -> Result<UploadSlot> {
        let started = Instant::now();
        let slot = timeout(self.limits.timeout, self.limits.upload_slots.acquire(user)).await;
        self.deadline += started.elapsed();
        Ok(slot.map_err(|_| domain::Error::overloaded())??)
    }
}

pub(super) fn too_large() -> ApiError {
    ApiError::of_status(413)
}

pub(super) fn malformed(message: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::new("body", "", "value_error", message)])
}

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
        _ => Err(ApiError::of_status(415)),
    }
}

/// Returns whether the body is JSON by its content type.
pub(super) fn is_json(request: &HttpRequest) -> bool {
    matches!(format_of(request), Ok(BodyFormat::Json))
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
        let chunk = chunk.map_err(|error| payload_error(&error))?;
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
    limits: &BodyLimits,
) -> Result<Vec<u8>> {
    if format_of(request)? != BodyFormat::Json {
        return Err(ApiError::of_status(415));
    }
    read_all(request, payload, &Deadlines::start(limits)).await
}

/// Reads a JSON body that may be absent or null.
pub(super) async fn read_optional_json(
    request: &HttpRequest,
    payload: &mut Payload,
    limits: &BodyLimits,
) -> Result<Option<Fields>> {
    let headers = request.headers();
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if !has_body {
        return Ok(None);
    }
    let body = read_json(request, payload, limits).await?;
    if body.trim_ascii() == b"null" { Ok(None) } else { Fields::from_json(&body).map(Some) }
}

/// Reads a body of any format. Without an uploader, files are ignored.
pub(crate) async fn read_form(
    request: &HttpRequest,
    mut payload: Payload,
    limits: &BodyLimits,
    uploader: Option<UserId>,
) -> Result<Fields> {
    let deadlines = Deadlines::start(limits);
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
