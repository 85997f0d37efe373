//! Reads multipart forms: texts into memory, one file to disk.

use std::time::Duration;

use application::media::HEAD_LENGTH;
use domain::users::UserId;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{
    body_stream::BodyShare,
    fields::Fields,
    limits::{BodyLimits, malformed, too_large},
    parts::{PartHead, Parts},
    upload_slots::Upload,
};
use crate::error::{ApiError, FieldError, Result};

const MAX_PARTS: usize = 100;
/// How much of a field's name an error shows.
const MAX_SHOWN_NAME: usize = 100;
const WRITE_BUFFER_BYTES: usize = 128 * 1024;
/// How many bytes of a file arrive between two checks of the free space.
const SPACE_CHECK_BYTES: u64 = 1 << 20;
/// How long a received file may wait for an upload slot.
const SLOT_TIMEOUT: Duration = Duration::from_mins(1);

/// Reads the texts, which may have `max_text_bytes`, and the file `media` unless it is empty. Without a receiver, files
/// are ignored.
pub(super) async fn read(
    mut parts: Parts,
    max_text_bytes: usize,
    receiver: Option<FileReceiver<'_>>,
) -> Result<Fields> {
    let (mut fields, mut file, mut text_bytes_left) = (Vec::new(), None, max_text_bytes);
    for _ in 0..MAX_PARTS {
        let Some(PartHead { name, is_file }) = parts.next_part().await? else {
            return Ok(Fields::from_form(fields, file));
        };
        match receiver.as_ref().filter(|_| is_file) {
            Some(receiver) if name == "media" && file.is_none() => {
                let upload = receiver.receive(&mut parts).await?;
                file = Some(upload).filter(|upload| upload.size > 0);
            }
            Some(_) => {
                // Browsers send an empty file for an input without one. The first byte of any other is enough to refuse
                // it.
                if parts.next_chunk().await?.is_some() {
                    return Err(if name == "media" { two_files() } else { unknown_file(&name) });
                }
            }
            None => {
                let bytes = read_bytes(&mut parts, &mut text_bytes_left).await?;
                if !is_file {
                    let text = String::from_utf8(bytes).map_err(|_| malformed("A text is not UTF-8"))?;
                    fields.push((name, text));
                }
            }
        }
    }
    Err(malformed("There are too many parts"))
}

fn two_files() -> ApiError {
    ApiError::invalid(vec![FieldError::new("body", "media", "value_error", "Only one file is accepted")])
}

/// The error for a file in a field that takes none.
fn unknown_file(field: &str) -> ApiError {
    let field: String = field.chars().take(MAX_SHOWN_NAME).collect();
    let message = "This field takes no file, send the file as `media`";
    ApiError::invalid(vec![FieldError::new("body", &field, "value_error", message)])
}

async fn read_bytes(parts: &mut Parts, bytes_left: &mut usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = parts.next_chunk().await? {
        *bytes_left = bytes_left.checked_sub(chunk.len()).ok_or_else(too_large)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
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
    async fn receive(&self, parts: &mut Parts) -> Result<Upload> {
        let Self { limits, user, memory } = self;
        let mut disk_share = limits.upload_budget.share(*user);
        limits.upload_dir.check_space()?;
        let file = limits.upload_dir.create_file().map_err(|error| storage_error(&error))?;
        let (file, path) = file.into_parts();
        let file = tokio::fs::File::from_std(file);
        let mut file = tokio::io::BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
        let (mut size, mut head, mut max_size) = (0, Vec::with_capacity(HEAD_LENGTH), u64::MAX);
        let mut next_space_check = SPACE_CHECK_BYTES;
        while let Some(chunk) = parts.next_chunk().await? {
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
            if size >= next_space_check {
                limits.upload_dir.check_space()?;
                next_space_check = size + SPACE_CHECK_BYTES;
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
