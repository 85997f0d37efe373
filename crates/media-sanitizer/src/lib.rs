//! Sanitizes media files that strangers upload.
//!
//! The format of a file is determined by its content alone: JPEG, PNG, GIF, WebP, MP4 or `WebM`. A parser for each
//! container format rejects files that are incomplete or malformed and leaves out all that is not needed to show them:
//! location and other metadata, comments, thumbnails, and data appended to the file.
//!
//! - Nothing is decoded, so a small file that would unfold to gigabytes costs no more than reading its header.
//! - Nothing is re-encoded, so pixels and sound stay as they are. Orientation and color profiles are kept.
//! - Files are streamed; memory use does not depend on their size.
//! - Sanitizing a sanitized file changes nothing.
//!
//! # Example
//!
//! ```
//! use media_sanitizer::{Error, Format, Limits, Sanitizer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("upload");
//! let sanitizer = Sanitizer::new(Limits::default(), 4);
//! std::fs::write(&path, b"<svg/>")?;
//! assert!(matches!(sanitizer.sanitize(&path).await, Err(Error::Unsupported)));
//! assert_eq!(Format::detect(b"GIF89a"), Some(Format::Gif));
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `testing`, the module `testing` makes media files for tests and fuzzers.

mod error;
mod format;
mod formats;
mod limits;
mod sanitizer;
mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use format::{Format, HEAD_LENGTH};
pub use limits::Limits;
pub use sanitizer::{SanitizedFile, Sanitizer};
