//! Inspecting and cleaning uploaded files.
//!
//! What a file is, its content decides alone. Each format has a walker over its container that refuses what is not
//! whole and leaves out what is not needed to show it: location and other metadata, comments, whatever was appended.
//! Nothing is decoded, so a picture that would unfold to gigabytes costs no more than its header; nothing is
//! re-encoded, so pixels and sound stay as they were. Files are streamed; none is held in memory whole.

mod exif;
mod gif;
mod jpeg;
mod mp4;
mod mp4_samples;
mod patch;
mod png;
mod source;
mod webm;
mod webp;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

use domain::{
    Error, Result, Violation,
    media::{MediaFile, MediaKind},
};
use tempfile::NamedTempFile;
use tokio::{sync::Semaphore, task::spawn_blocking};

use self::source::{Fault, Source};

/// How many of its first bytes tell what a file begins to be.
pub const HEAD: usize = 12;

/// How large files may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an image.
    pub image_bytes: u64,
    /// Bytes of a video.
    pub video_bytes: u64,
    /// Width times height, of a video as well.
    pub pixels: u64,
}

impl Limits {
    fn bytes(self, kind: MediaKind) -> u64 {
        if kind.is_video() { self.video_bytes } else { self.image_bytes }
    }
}

impl Default for Limits {
    /// 10 MiB, 50 MiB, 50 megapixels.
    fn default() -> Self {
        Self { image_bytes: 10 << 20, video_bytes: 50 << 20, pixels: 50_000_000 }
    }
}

/// Inspects and cleans uploaded files, a few at a time.
#[derive(Debug, Clone)]
pub struct Inspector {
    limits: Limits,
    slots: Arc<Semaphore>,
}

impl Inspector {
    /// Works on at most `at_once` files at the same time; the others wait.
    pub fn new(limits: Limits, at_once: usize) -> Self {
        Self { limits, slots: Arc::new(Semaphore::new(at_once.max(1))) }
    }

    /// How many bytes a file that begins so may have. [`Error::MEDIA_UNSUPPORTED`] if it is none of the kinds that
    /// posts may have. It takes [`HEAD`] bytes to tell.
    pub fn most_bytes(&self, head: &[u8]) -> Result<u64> {
        kind(head).map(|kind| self.limits.bytes(kind)).ok_or(Error::MEDIA_UNSUPPORTED)
    }

    /// Finds out what the file at `path` is and puts its cleaned form in its place, by a rename.
    ///
    /// [`Error::MEDIA_UNSUPPORTED`] if it is none of the kinds that posts may have; [`Error::MEDIA_TOO_LARGE`] if it
    /// has more bytes or pixels than allowed; [`Error::Invalid`] if it is empty, incomplete or malformed;
    /// [`Error::STORAGE_FULL`]. A refused file stays as it was, and nothing lies beside it. The same holds if the
    /// future is dropped.
    pub async fn inspect(&self, path: &Path) -> Result<MediaFile> {
        let slot = self.slots.clone().acquire_owned().await.map_err(Error::internal)?;
        let (from, limits) = (path.to_owned(), self.limits);
        let work = move || {
            // Held by the work, which goes on when nobody waits for it any more.
            let _slot = slot;
            cleaned(&from, limits)
        };
        let (kind, clean) = spawn_blocking(work).await.map_err(Error::internal)??;
        let size = clean.as_file().metadata().map_err(Fault::Io)?.len();
        // Not among the work: after a caller who gave up has removed the file, none may appear in its place.
        clean.persist(path).map_err(|error| Fault::Io(error.error))?;
        Ok(MediaFile { path: path.to_owned(), kind, size })
    }
}

/// The kind of a file, and its cleaned form beside it.
fn cleaned(path: &Path, limits: Limits) -> Result<(MediaKind, NamedTempFile), Fault> {
    let mut source = Source::open(path)?;
    if source.length() == 0 {
        return Err(Fault::Malformed("it is empty"));
    }
    let kind = kind(&source.peek(HEAD)?).ok_or(Fault::Unsupported)?;
    if source.length() > limits.bytes(kind) {
        return Err(Fault::TooLarge);
    }
    let directory = path.parent().ok_or_else(|| Fault::Io(io::ErrorKind::InvalidInput.into()))?;
    let mut clean = NamedTempFile::new_in(directory)?;
    copy_clean(kind, &mut source, clean.as_file_mut(), limits.pixels)?;
    Ok((kind, clean))
}

fn copy_clean(kind: MediaKind, source: &mut Source, file: &mut File, pixels: u64) -> Result<(), Fault> {
    let mut sink = BufWriter::with_capacity(source::BUFFER, file);
    match kind {
        MediaKind::Jpeg => jpeg::clean(source, &mut sink, pixels)?,
        MediaKind::Png => png::clean(source, &mut sink, pixels)?,
        MediaKind::Gif => gif::clean(source, &mut sink, pixels)?,
        MediaKind::Webp => webp::clean(source, &mut sink, pixels)?,
        MediaKind::Mp4 => mp4::clean(source, &mut sink, pixels)?,
        MediaKind::Webm => webm::clean(source, &mut sink, pixels)?,
    }
    Ok(sink.flush()?)
}

/// What a file begins to be; its walker then tells whether it is.
fn kind(head: &[u8]) -> Option<MediaKind> {
    match head {
        [0xFF, 0xD8, 0xFF, ..] => Some(MediaKind::Jpeg),
        [0x89, b'P', b'N', b'G', ..] => Some(MediaKind::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(MediaKind::Gif),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Some(MediaKind::Webp),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if mp4::is_brand(brand) => Some(MediaKind::Mp4),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Some(MediaKind::Webm),
        _ => None,
    }
}

/// Checks a picture's measures, as its header gives them.
///
/// Too many pixels are answered like too many bytes: the file is well formed, and a smaller version of it is welcome.
fn check_pixels(width: u64, height: u64, most: u64) -> Result<(), Fault> {
    match width.saturating_mul(height) {
        0 => Err(Fault::Malformed("its width or height is zero")),
        pixels if pixels > most => Err(Fault::TooLarge),
        _ => Ok(()),
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(why) => {
                Violation::value("media", format!("The file is damaged or incomplete: {why}")).into()
            }
            Fault::TooLarge => Self::MEDIA_TOO_LARGE,
            Fault::Unsupported => Self::MEDIA_UNSUPPORTED,
            Fault::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::STORAGE_FULL,
                _ => Self::internal(error),
            },
        }
    }
}
