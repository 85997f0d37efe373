//! Bodies, read with their limits: of size, of number, of time.

use std::{path::PathBuf, time::Duration};

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{HttpRequest, dev::Payload, error::PayloadError, http::header, web::Bytes};
use application::media::{HEAD, Inspector};
use domain::users::UserId;
use futures_util::{Stream, StreamExt as _};
use tempfile::TempPath;
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    error::{ApiError, FieldError, Result},
    fields::Fields,
    places::{Place, Places},
};

/// The largest body without a file: the longest post, every character escaped, fits in.
const MAX_TEXT_BODY: usize = 256 * 1024;
const MAX_PARTS: usize = 100;

/// How bodies are received.
#[derive(Debug)]
pub struct Intake {
    /// Where files lie while they arrive.
    pub folder: PathBuf,
    /// Bounds how many of them there are.
    pub places: Places,
    /// Tells from their first bytes how large they may be.
    pub inspector: Inspector,
    /// How long nothing may arrive.
    pub idle: Duration,
    /// How long a body may take in all.
    pub longest: Duration,
}

/// A file that has arrived, and is removed with this value.
pub(crate) struct Upload {
    /// Where it lies.
    pub path: TempPath,
    /// Its size in bytes.
    pub size: u64,
    _place: Place,
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

/// A body that is being received, and when this ends.
struct Reading<'a> {
    intake: &'a Intake,
    until: Instant,
}

impl<'a> Reading<'a> {
    fn begin(intake: &'a Intake) -> Self {
        Self { intake, until: Instant::now() + intake.longest }
    }

    /// The next of a stream, unless it takes too long.
    async fn next<S: Stream + Unpin>(&self, stream: &mut S) -> Result<Option<S::Item>> {
        let until = self.until.min(Instant::now() + self.intake.idle);
        timeout_at(until, stream.next()).await.map_err(|_| ApiError::of_status(408))
    }

    /// A place for a file of this user. The client is not to blame for how long it waits.
    async fn place(&mut self, user: UserId) -> Result<Place> {
        let begun = Instant::now();
        let place = timeout(self.intake.longest, self.intake.places.take(user)).await;
        self.until += begun.elapsed();
        Ok(place.map_err(|_| domain::Error::overloaded())??)
    }
}

fn broken(error: &PayloadError) -> ApiError {
    match error {
        PayloadError::Overflow => too_large(),
        _ => ApiError::new("bad_request", "The body is broken"),
    }
}

/// A body without files, whole.
async fn whole(request: &HttpRequest, payload: &mut Payload, reading: &Reading<'_>) -> Result<Vec<u8>> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_TEXT_BODY) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = reading.next(payload).await? {
        let chunk: Bytes = chunk.map_err(|error| broken(&error))?;
        if body.len() + chunk.len() > MAX_TEXT_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The fields of a JSON body.
pub(crate) async fn json(request: &HttpRequest, payload: &mut Payload, intake: &Intake) -> Result<Fields> {
    Fields::from_json(&json_bytes(request, payload, intake).await?)
}

/// The fields of a JSON body; null is none.
pub(crate) async fn optional_json(
    request: &HttpRequest,
    payload: &mut Payload,
    intake: &Intake,
) -> Result<Option<Fields>> {
    let body = json_bytes(request, payload, intake).await?;
    if body.trim_ascii() == b"null" { Ok(None) } else { Fields::from_json(&body).map(Some) }
}

async fn json_bytes(request: &HttpRequest, payload: &mut Payload, intake: &Intake) -> Result<Vec<u8>> {
    if kind(request)? != Kind::Json {
        return Err(unsupported());
    }
    whole(request, payload, &Reading::begin(intake)).await
}

/// The fields of a body of any kind, and the file in `media` if there is one and it is not empty. Without an
/// uploader files are no part of it.
pub(crate) async fn form(
    request: &HttpRequest,
    mut payload: Payload,
    intake: &Intake,
    uploader: Option<UserId>,
) -> Result<(Fields, Option<Upload>)> {
    let reading = Reading::begin(intake);
    match kind(request)? {
        Kind::Json => Ok((Fields::from_json(&whole(request, &mut payload, &reading).await?)?, None)),
        Kind::Form => {
            let body = whole(request, &mut payload, &reading).await?;
            let fields: Vec<(String, String)> =
                serde_html_form::from_bytes(&body).map_err(|_| malformed("The form is broken"))?;
            Ok((Fields::from_form(fields), None))
        }
        Kind::Multipart => multipart(Multipart::new(request.headers(), payload), reading, uploader).await,
    }
}

async fn multipart(
    mut parts: Multipart,
    mut reading: Reading<'_>,
    uploader: Option<UserId>,
) -> Result<(Fields, Option<Upload>)> {
    let (mut fields, mut file, mut texts) = (Vec::new(), None, 0);
    for _ in 0..MAX_PARTS {
        let Some(part) = reading.next(&mut parts).await? else {
            return Ok((Fields::from_form(fields), file));
        };
        let mut part = part.map_err(|error| multipart_error(&error))?;
        let Some(name) = part.name().map(str::to_owned) else { return Err(malformed("A part has no name")) };
        let is_file = part.content_disposition().is_some_and(|disposition| {
            disposition.get_filename().is_some() || disposition.get_filename_ext().is_some()
        });
        if let Some(user) = uploader.filter(|_| is_file && name == "media") {
            if file.is_some() {
                // An empty one is none; of any other, a byte is enough to know.
                if let Some(chunk) = reading.next(&mut part).await? {
                    chunk.map_err(|error| multipart_error(&error))?;
                    return Err(two_files());
                }
                continue;
            }
            let place = reading.place(user).await?;
            let upload = receive(&mut part, &reading, place).await?;
            file = Some(upload).filter(|upload| upload.size > 0);
        } else {
            let text = text(&mut part, &reading, &mut texts).await?;
            if !is_file {
                fields.push((name, text));
            }
        }
    }
    Err(malformed("There are too many parts"))
}

fn two_files() -> ApiError {
    ApiError::invalid(vec![FieldError::new("body", "media", "value_error", "Only one file is accepted")])
}

async fn text(part: &mut Field, reading: &Reading<'_>, total: &mut usize) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reading.next(part).await? {
        let chunk = chunk.map_err(|error| multipart_error(&error))?;
        *total += chunk.len();
        if *total > MAX_TEXT_BODY {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| malformed("A text is not UTF-8"))
}

async fn receive(part: &mut Field, reading: &Reading<'_>, place: Place) -> Result<Upload> {
    let file = tempfile::Builder::new()
        .prefix("upload-")
        .tempfile_in(&reading.intake.folder)
        .map_err(|error| stored(&error))?;
    let (file, path) = file.into_parts();
    let mut file = tokio::io::BufWriter::with_capacity(128 * 1024, tokio::fs::File::from_std(file));
    let (mut size, mut head, mut most) = (0, Vec::with_capacity(HEAD), u64::MAX);
    while let Some(chunk) = reading.next(part).await? {
        let chunk = chunk.map_err(|error| multipart_error(&error))?;
        size += chunk.len() as u64;
        if head.len() < HEAD {
            head.extend(chunk.iter().take(HEAD - head.len()));
            if head.len() == HEAD {
                most = reading.intake.inspector.most_bytes(&head)?;
            }
        }
        if size > most {
            return Err(domain::Error::MEDIA_TOO_LARGE.into());
        }
        file.write_all(&chunk).await.map_err(|error| stored(&error))?;
    }
    file.flush().await.map_err(|error| stored(&error))?;
    Ok(Upload { path, size, _place: place })
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
