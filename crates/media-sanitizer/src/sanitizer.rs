//! The public entry point.

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

use tempfile::NamedTempFile;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    error::Error,
    format::{Format, HEAD_LENGTH},
    formats::{gif, jpeg, mp4, png, webm, webp},
    limits::Limits,
    source::{BUFFER_BYTES, Source},
};

/// A file after it has been sanitized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SanitizedFile {
    /// Its format, determined by its content.
    pub format: Format,
    /// Its size in bytes.
    pub size: u64,
}

/// Sanitizes files, a bounded number at a time.
#[derive(Debug, Clone)]
pub struct Sanitizer {
    limits: Limits,
    permits: Arc<Semaphore>,
}

impl Sanitizer {
    /// Creates a sanitizer that works on at most `max_concurrent` files at the same time. Further calls wait.
    pub fn new(limits: Limits, max_concurrent: usize) -> Self {
        Self { limits, permits: Arc::new(Semaphore::new(max_concurrent.max(1))) }
    }

    /// Returns the maximum size in bytes of a file that starts with `head`, so that a larger one can be refused while
    /// it is received. `head` must have at least [`HEAD_LENGTH`] bytes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if no supported format starts with these bytes.
    pub fn max_bytes(&self, head: &[u8]) -> Result<u64, Error> {
        Format::detect(head).map(|format| self.limits.max_bytes(format)).ok_or(Error::Unsupported)
    }

    /// Replaces the file at `path` with its sanitized form, by a rename.
    ///
    /// If this fails, or if the future is dropped, the file stays unchanged and no temporary file remains.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the file is of no supported format; [`Error::TooLarge`] or [`Error::TooManyPixels`] if
    /// it exceeds a limit; [`Error::Malformed`] if it is empty, incomplete or violates its format;
    /// [`Error::UnsupportedCodec`] if no browser plays it; [`Error::TimedOut`] if it takes too long; [`Error::Io`] if reading
    /// or writing fails.
    pub async fn sanitize(&self, path: &Path) -> Result<SanitizedFile, Error> {
        self.sanitize_holding(path, ()).await
    }

    /// As [`Self::sanitize`]. Drops `guard` when the work on the file has ended, which may be later than the future is
    /// dropped.
    ///
    /// # Errors
    /// As for [`Self::sanitize`].
    pub async fn sanitize_holding<G: Send + 'static>(
        &self,
        path: &Path,
        guard: G,
    ) -> Result<SanitizedFile, Error> {
        let permit = self.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (from, limits) = (path.to_owned(), self.limits);
        let work = move || {
            // The blocking task holds the permit: it continues after its caller is gone.
            let _held = (permit, guard);
            write_sanitized(&from, limits)
        };
        let (format, sanitized) = spawn_blocking(work).await.map_err(io::Error::other)??;
        let size = sanitized.as_file().metadata().map_err(Error::Io)?.len();
        // Outside of the blocking task: after a caller that gave up has removed the file, none may appear in its place.
        sanitized.persist(path).map_err(|error| Error::Io(error.error))?;
        Ok(SanitizedFile { format, size })
    }
}

/// Writes the sanitized form of the file at `path` to a temporary file in the same directory.
fn write_sanitized(path: &Path, limits: Limits) -> Result<(Format, NamedTempFile), Error> {
    write_from(&mut Source::open(path, limits)?, path, limits)
}

/// As [`write_sanitized`], with the number of steps that it took.
#[cfg(test)]
pub(crate) fn write_counted(path: &Path, limits: Limits) -> (u64, Result<(Format, NamedTempFile), Error>) {
    let mut source = Source::open(path, limits).unwrap();
    let result = write_from(&mut source, path, limits);
    (source.steps(), result)
}

fn write_from(source: &mut Source, path: &Path, limits: Limits) -> Result<(Format, NamedTempFile), Error> {
    if source.length() == 0 {
        return Err(Error::Malformed("it is empty"));
    }
    let format = Format::detect(&source.peek(HEAD_LENGTH)?).ok_or(Error::Unsupported)?;
    if source.length() > limits.max_bytes(format) {
        return Err(Error::TooLarge);
    }
    let clean = match format {
        Format::Jpeg => jpeg::clean,
        Format::Png => png::clean,
        Format::Gif => gif::clean,
        Format::Webp => webp::clean,
        Format::Mp4 => mp4::clean,
        Format::Webm => webm::clean,
    };
    let directory = path.parent().ok_or_else(|| Error::Io(io::ErrorKind::InvalidInput.into()))?;
    let mut sanitized = NamedTempFile::new_in(directory)?;
    let mut sink = BufWriter::with_capacity(BUFFER_BYTES, sanitized.as_file_mut());
    clean(source, &mut sink)?;
    sink.flush()?;
    drop(sink);
    Ok((format, sanitized))
}
