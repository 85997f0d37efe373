//! Reads multipart forms: texts into memory, one file to disk.

use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use application::media::HEAD_LENGTH;
use domain::users::UserId;
use futures_util::StreamExt as _;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{
    body::{BodyLimits, malformed, payload_error, too_large},
    body_stream::BodyShare,
    fields::Fields,
    upload_slots::Upload,
};
use crate::error::{ApiError, FieldError, Result};

const MAX_PARTS: usize = 100;
const WRITE_BUFFER_BYTES: usize = 128 * 1024;
/// How long a received file may wait for an upload slot.
const SLOT_TIMEOUT: Duration = Duration::from_mins(1);

/// Reads the texts, which may have `max_text_bytes`, and the file `media` unless it is empty. Without a receiver, files
/// are ignored.
pub(super) async fn read(
    mut parts: Multipart,
    max_text_bytes: usize,
    receiver: Option<FileReceiver<'_>>,
) -> Result<Fields> {
    let (mut fields, mut file, mut text_bytes_left) = (Vec::new(), None, max_text_bytes);
    for _ in 0..MAX_PARTS {
        let Some(part) = parts.next().await else { return Ok(Fields::from_form(fields, file)) };
        let mut part = part.map_err(|error| multipart_error(&error))?;
        let Some(name) = part.name().map(str::to_owned) else { return Err(malformed("A part has no name")) };
        let is_file = part.content_disposition().is_some_and(|disposition| {
            disposition.get_filename().is_some() || disposition.get_filename_ext().is_some()
        });
        if let Some(receiver) = receiver.as_ref().filter(|_| is_file && name == "media") {
            if file.is_some() {
                // An empty second file is ignored; the first byte of any other is enough to refuse it.
                if let Some(chunk) = part.next().await {
                    chunk.map_err(|error| multipart_error(&error))?;
                    return Err(two_files());
                }
                continue;
            }
            let upload = receiver.receive(&mut part).await?;
            file = Some(upload).filter(|upload| upload.size > 0);
        } else {
            let text = read_text(&mut part, &mut text_bytes_left).await?;
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

async fn read_text(part: &mut Field, bytes_left: &mut usize) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.next().await {
        let chunk = chunk.map_err(|error| multipart_error(&error))?;
        *bytes_left = bytes_left.checked_sub(chunk.len()).ok_or_else(too_large)?;
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| malformed("A text is not UTF-8"))
}

/// Receives the file of a user.
pub(super) struct FileReceiver<'a> {
    pub(super) limits: &'a BodyLimits,
    pub(super) user: UserId,
    /// What the body holds of the memory. `None` outside the server.
    pub(super) memory: Option<BodyShare>,
}

impl FileReceiver<'_> {
    /// Writes the file to disk, then waits for an upload slot, so that a slow client does not occupy one.
    async fn receive(&self, part: &mut Field) -> Result<Upload> {
        let Self { limits, user, memory } = self;
        let mut disk_share = limits.upload_budget.share(*user);
        let file = tempfile::Builder::new()
            .prefix("upload-")
            .tempfile_in(&limits.upload_dir)
            .map_err(|error| storage_error(&error))?;
        let (file, path) = file.into_parts();
        let file = tokio::fs::File::from_std(file);
        let mut file = tokio::io::BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
        let (mut size, mut head, mut max_size) = (0, Vec::with_capacity(HEAD_LENGTH), u64::MAX);
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|error| multipart_error(&error))?;
            size += chunk.len() as u64;
            if head.len() < HEAD_LENGTH {
                head.extend(chunk.iter().take(HEAD_LENGTH - head.len()));
                if head.len() == HEAD_LENGTH {
                    max_size = limits.inspector.max_bytes(&head)?;
                }
            }
            if size > max_size {
                return Err(domain::Error::MEDIA_TOO_LARGE.into());
            }
            disk_share.grow(chunk.len())?;
            file.write_all(&chunk).await.map_err(|error| storage_error(&error))?;
            // The first bytes stand for the buffers.
            if let Some(memory) = memory.as_ref().filter(|_| size > WRITE_BUFFER_BYTES as u64) {
                memory.release(chunk.len());
            }
        }
        file.flush().await.map_err(|error| storage_error(&error))?;
        let slot = timeout(SLOT_TIMEOUT, limits.upload_slots.acquire(*user)).await;
        let slot = slot.map_err(|_| domain::Error::overloaded())??;
        Ok(Upload::new(path, size, disk_share, slot))
    }
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
        MultipartError::Payload(error @ (PayloadError::Overflow | PayloadError::Io(_))) => {
            payload_error(error)
        }
        MultipartError::BoundaryMissing => malformed("The multipart boundary is missing"),
        _ => malformed("The multipart body is broken"),
    }
}
