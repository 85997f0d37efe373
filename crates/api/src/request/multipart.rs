//! Reads multipart forms: texts into memory, one file to disk.

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use application::media::HEAD_LENGTH;
use domain::users::UserId;
use tokio::io::AsyncWriteExt as _;

use super::{
    body::{Deadlines, MAX_TEXT_BYTES, malformed, too_large},
    fields::Fields,
    upload_slots::{Upload, UploadSlot},
};
use crate::error::{ApiError, FieldError, Result};

const MAX_PARTS: usize = 100;
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// Reads the texts, and the file `media` unless it is empty. Without an uploader, files are ignored.
pub(super) async fn read(
    mut parts: Multipart,
    mut deadlines: Deadlines<'_>,
    uploader: Option<UserId>,
) -> Result<Fields> {
    let (mut fields, mut file, mut text_bytes) = (Vec::new(), None, 0);
    for _ in 0..MAX_PARTS {
        let Some(part) = deadlines.next(&mut parts).await? else {
            return Ok(Fields::from_form(fields, file));
        };
        let mut part = part.map_err(|error| multipart_error(&error))?;
        let Some(name) = part.name().map(str::to_owned) else { return Err(malformed("A part has no name")) };
        let is_file = part.content_disposition().is_some_and(|disposition| {
            disposition.get_filename().is_some() || disposition.get_filename_ext().is_some()
        });
        if let Some(user) = uploader.filter(|_| is_file && name == "media") {
            if file.is_some() {
                // An empty second file is ignored; the first byte of any other is enough to refuse it.
                if let Some(chunk) = deadlines.next(&mut part).await? {
                    chunk.map_err(|error| multipart_error(&error))?;
                    return Err(two_files());
                }
                continue;
            }
            let slot = deadlines.upload_slot(user).await?;
            let upload = receive_file(&mut part, &deadlines, slot).await?;
            file = Some(upload).filter(|upload| upload.size > 0);
        } else {
            let text = read_text(&mut part, &deadlines, &mut text_bytes).await?;
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

async fn read_text(part: &mut Field, deadlines: &Deadlines<'_>, total: &mut usize) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = deadlines.next(part).await? {
        let chunk = chunk.map_err(|error| multipart_error(&error))?;
        *total += chunk.len();
        if *total > MAX_TEXT_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| malformed("A text is not UTF-8"))
}

async fn receive_file(part: &mut Field, deadlines: &Deadlines<'_>, slot: UploadSlot) -> Result<Upload> {
    let file = tempfile::Builder::new()
        .prefix("upload-")
        .tempfile_in(&deadlines.limits.upload_dir)
        .map_err(|error| storage_error(&error))?;
    let (file, path) = file.into_parts();
    let mut file = tokio::io::BufWriter::with_capacity(WRITE_BUFFER_BYTES, tokio::fs::File::from_std(file));
    let (mut size, mut head, mut max_size) = (0, Vec::with_capacity(HEAD_LENGTH), u64::MAX);
    while let Some(chunk) = deadlines.next(part).await? {
        let chunk = chunk.map_err(|error| multipart_error(&error))?;
        size += chunk.len() as u64;
        if head.len() < HEAD_LENGTH {
            head.extend(chunk.iter().take(HEAD_LENGTH - head.len()));
            if head.len() == HEAD_LENGTH {
                max_size = deadlines.limits.inspector.max_bytes(&head)?;
            }
        }
        if size > max_size {
            return Err(domain::Error::MEDIA_TOO_LARGE.into());
        }
        file.write_all(&chunk).await.map_err(|error| storage_error(&error))?;
    }
    file.flush().await.map_err(|error| storage_error(&error))?;
    Ok(Upload::new(path, size, slot))
}

fn storage_error(error: &std::io::Error) -> ApiError {
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
