//! Inspecting uploaded files.

mod turns;

use std::path::Path;

use domain::{
    Error, Result, Violation,
    media::{MediaFile, MediaKind},
    users::UserId,
};
use media_sanitizer::{Error as SanitizeError, Format, Sanitizer};

use turns::Turns;

pub use media_sanitizer::{HEAD_LENGTH, Limits};

/// Determines the kinds of uploaded files and removes their metadata.
#[derive(Debug, Clone)]
pub struct MediaInspector {
    sanitizer: Sanitizer,
    turns: Turns,
}

impl MediaInspector {
    /// Creates an inspector that works on at most `max_concurrent` files at the same time. Further calls wait, and users
    /// take turns.
    pub fn new(limits: Limits, max_concurrent: usize) -> Self {
        Self { sanitizer: Sanitizer::new(limits, max_concurrent), turns: Turns::new(max_concurrent) }
    }

    /// Returns the maximum size in bytes of a file that starts with `head`, of at least [`HEAD_LENGTH`] bytes.
    ///
    /// # Errors
    /// [`Error::MEDIA_UNSUPPORTED`] if it starts like no kind of file that posts may have.
    pub fn max_bytes(&self, head: &[u8]) -> Result<u64> {
        self.sanitizer.max_bytes(head).map_err(to_domain)
    }

    /// Determines the kind of the file at `path`, which `user` uploaded, and replaces the file with its sanitized form.
    /// If this fails, or if the future is dropped, the file stays unchanged.
    ///
    /// # Errors
    /// [`Error::MEDIA_UNSUPPORTED`], [`Error::MEDIA_TOO_LARGE`], [`Error::MEDIA_TOO_MANY_PIXELS`], [`Error::STORAGE_FULL`], [`Error::Invalid`] if the file
    /// is empty, incomplete or malformed, or [`Error::Unavailable`] if it takes too long.
    pub async fn inspect(&self, user: UserId, path: &Path) -> Result<MediaFile> {
        let turn = self.turns.wait(user).await?;
        let file = self.sanitizer.sanitize_holding(path, turn).await.map_err(to_domain)?;
        Ok(MediaFile { path: path.to_owned(), kind: kind_of(file.format), size: file.size })
    }
}

fn kind_of(format: Format) -> MediaKind {
    match format {
        Format::Jpeg => MediaKind::Jpeg,
        Format::Png => MediaKind::Png,
        Format::Gif => MediaKind::Gif,
        Format::Webp => MediaKind::Webp,
        Format::Mp4 => MediaKind::Mp4,
        Format::Webm => MediaKind::Webm,
    }
}

fn to_domain(error: SanitizeError) -> Error {
    match error {
        SanitizeError::Malformed(clause) => {
            Violation::value("media", format!("The file is damaged or incomplete: {clause}")).into()
        }
        SanitizeError::TooLarge => Error::MEDIA_TOO_LARGE,
        SanitizeError::TooManyPixels => Error::MEDIA_TOO_MANY_PIXELS,
        SanitizeError::UnsupportedCodec(message) => Error::media_unsupported(message),
        SanitizeError::Unsupported => Error::MEDIA_UNSUPPORTED,
        SanitizeError::TimedOut => Error::overloaded(),
        SanitizeError::Io(error) => Error::from_io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_malformed_file_violates_the_field_media() {
        let Error::Invalid(violations) = to_domain(SanitizeError::Malformed("it is empty")) else {
            panic!("a violation")
        };
        assert_eq!(violations[0].field, "media");
        assert_eq!(violations[0].message, "The file is damaged or incomplete: it is empty");
    }

    #[test]
    fn errors_map_to_those_of_the_contract() {
        let io = |kind: io::ErrorKind| to_domain(SanitizeError::Io(kind.into()));
        assert_eq!(to_domain(SanitizeError::TooLarge), Error::MEDIA_TOO_LARGE);
        assert_eq!(to_domain(SanitizeError::TooManyPixels), Error::MEDIA_TOO_MANY_PIXELS);
        assert_eq!(to_domain(SanitizeError::Unsupported), Error::MEDIA_UNSUPPORTED);
        let codec = to_domain(SanitizeError::UnsupportedCodec("a sentence"));
        assert_eq!(
            (codec.code(), codec.to_string().as_str()),
            (Error::MEDIA_UNSUPPORTED.code(), "a sentence")
        );
        assert_eq!(io(io::ErrorKind::StorageFull), Error::STORAGE_FULL);
        assert_eq!(io(io::ErrorKind::QuotaExceeded), Error::STORAGE_FULL);
        assert!(matches!(io(io::ErrorKind::NotFound), Error::Internal(_)));
        assert!(matches!(to_domain(SanitizeError::TimedOut), Error::Unavailable(..)));
    }
}
