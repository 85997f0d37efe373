//! Bodies, read with their limits: of size, of number, of time.

use std::{path::Path, time::Duration};

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{HttpRequest, dev::Payload, error::PayloadError, http::header, web::Bytes};
use futures_util::{Stream, StreamExt as _};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;

use crate::{
    error::{ApiError, FieldError, Result},
    fields::Fields,
};

/// The largest body without a file: the longest post, every character escaped, fits in.
const MAX_TEXT_BODY: usize = 256 * 1024;
const MAX_PARTS: usize = 100;
/// How long nothing may arrive.
const IDLE: Duration = Duration::from_secs(20);
/// How long a body may take in all.
const LONGEST: Duration = Duration::from_mins(5);

/// A file that has arrived, and is removed with this value.
pub(crate) struct Upload {
    /// Where it lies.
    pub path: TempPath,
    /// Its size in bytes.
    pub size: u64,
}

/// What kind a body claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Form,
    Multipart,
}

fn kind(request: &HttpRequest) -> Result<Kind> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Ok(Kind::Json) };
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    match value.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => Ok(Kind::Form),
        "multipart/form-data" => Ok(Kind::Multipart),
        json if json == "application/json"
            || (json.starts_with("application/") && json.ends_with("+json")) =>
        {
            Ok(Kind::Json)
        }
        _ => Err(unsupported()),
    }
}

/// Whether the body claims to be JSON.
pub(crate) fn is_json(request: &HttpRequest) -> bool {
    matches!(kind(request), Ok(Kind::Json))
}

fn unsupported() -> ApiError {
    ApiError::of_status(415)
}

fn too_large() -> ApiError {
    ApiError::of_status(413)
}

fn malformed(message: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::new("body", "", "value_error", message)])
}

/// The next of a stream, unless it takes too long.
async fn next<S: Stream + Unpin>(stream: &mut S) -> Result<Option<S::Item>> {
    tokio::time::timeout(IDLE, stream.next()).await.map_err(|_| ApiError::of_status(408))
}

fn broken(error: &PayloadError) -> ApiError {
    match error {
        PayloadError::Overflow => too_large(),
        _ => ApiError::new("bad_request", "The body is broken"),
    }
}

/// A body without files, whole.
async fn whole(request: &HttpRequest, payload: &mut Payload) -> Result<Vec<u8>> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_TEXT_BODY) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = next(payload).await? {
        let chunk: Bytes = chunk.map_err(|error| broken(&error))?;
        if body.len() + chunk.len() > MAX_TEXT_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The fields of a JSON body.
pub(crate) async fn json(request: &HttpRequest, payload: &mut Payload) -> Result<Fields> {
    if kind(request)? != Kind::Json {
        return Err(unsupported());
    }
    Fields::from_json(&whole(request, payload).await?)
}

/// Where files may go while they arrive, and how large they may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intake<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The largest file in bytes.
    pub max_bytes: u64,
}

/// The fields of a body of any kind, and the file in `media` if there is one and it is not empty. Without an
/// intake files are no part of it.
pub(crate) async fn form(
    request: &HttpRequest,
    mut payload: Payload,
    intake: Option<Intake<'_>>,
) -> Result<(Fields, Option<Upload>)> {
    match kind(request)? {
        Kind::Json => Ok((Fields::from_json(&whole(request, &mut payload).await?)?, None)),
        Kind::Form => {
            let body = whole(request, &mut payload).await?;
            let fields: Vec<(String, String)> =
                serde_html_form::from_bytes(&body).map_err(|_| malformed("The form is broken"))?;
            Ok((Fields::from_form(fields), None))
        }
        Kind::Multipart => {
            let parts = Multipart::new(request.headers(), payload);
            tokio::time::timeout(LONGEST, multipart(parts, intake))
                .await
                .map_err(|_| ApiError::of_status(408))?
        }
    }
}

async fn multipart(mut parts: Multipart, intake: Option<Intake<'_>>) -> Result<(Fields, Option<Upload>)> {
    let (mut fields, mut file, mut texts) = (Vec::new(), None, 0);
    for _ in 0..MAX_PARTS {
        let Some(part) = next(&mut parts).await? else { return Ok((Fields::from_form(fields), file)) };
        let mut part = part.map_err(|error| multipart_error(&error))?;
        let Some(name) = part.name().map(str::to_owned) else { return Err(malformed("A part has no name")) };
        let is_file =
            part.content_disposition().is_some_and(|disposition| disposition.get_filename().is_some());
        if let Some(intake) = intake.filter(|_| is_file && name == "media") {
            let upload = receive(&mut part, intake).await?;
            if upload.size > 0 && file.replace(upload).is_some() {
                return Err(ApiError::invalid(vec![FieldError::new(
                    "body",
                    "media",
                    "value_error",
                    "Only one file is accepted",
                )]));
            }
        } else {
            let text = text(&mut part, &mut texts).await?;
            if !is_file {
                fields.push((name, text));
            }
        }
    }
    Err(malformed("There are too many parts"))
}

async fn text(part: &mut Field, total: &mut usize) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next(part).await? {
        let chunk = chunk.map_err(|error| multipart_error(&error))?;
        *total += chunk.len();
        if *total > MAX_TEXT_BODY {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| malformed("A text is not UTF-8"))
}

async fn receive(part: &mut Field, intake: Intake<'_>) -> Result<Upload> {
    let file = tempfile::Builder::new()
        .prefix("upload-")
        .tempfile_in(intake.folder)
        .map_err(|error| stored(&error))?;
    let (file, path) = file.into_parts();
    let mut file = tokio::io::BufWriter::with_capacity(128 * 1024, tokio::fs::File::from_std(file));
    let mut size = 0;
    while let Some(chunk) = next(part).await? {
        let chunk = chunk.map_err(|error| multipart_error(&error))?;
        size += chunk.len() as u64;
        if size > intake.max_bytes {
            return Err(domain::Error::MEDIA_TOO_LARGE.into());
        }
        file.write_all(&chunk).await.map_err(|error| stored(&error))?;
    }
    file.flush().await.map_err(|error| stored(&error))?;
    Ok(Upload { path, size })
}

fn stored(error: &std::io::Error) -> ApiError {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => domain::Error::STORAGE_FULL.into(),
        _ => domain::Error::internal(error.to_string()).into(),
    }
}

fn multipart_error(error: &MultipartError) -> ApiError {
    match error {
        MultipartError::Payload(PayloadError::Overflow) => too_large(),
        MultipartError::BoundaryMissing => malformed("The multipart boundary is missing"),
        _ => malformed("The multipart body is broken"),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn kind_of(content_type: &str) -> Result<Kind, &'static str> {
        let request =
            TestRequest::post().insert_header((header::CONTENT_TYPE, content_type)).to_http_request();
        kind(&request).map_err(|error| error.code())
    }

    #[test]
    fn the_content_type_tells_how_a_body_is_read() {
        assert_eq!(kind_of("application/json; charset=utf-8"), Ok(Kind::Json));
        assert_eq!(kind_of("application/vnd.api+JSON"), Ok(Kind::Json));
        assert_eq!(kind_of("application/x-www-form-urlencoded"), Ok(Kind::Form));
        assert_eq!(kind_of("multipart/form-data; boundary=x"), Ok(Kind::Multipart));
        for other in ["text/plain", "application/xml", "", "multipart/mixed", "image/png"] {
            assert_eq!(kind_of(other), Err("unsupported_media_type"), "{other}");
        }
        assert_eq!(kind(&TestRequest::post().to_http_request()).ok(), Some(Kind::Json));
    }
}
