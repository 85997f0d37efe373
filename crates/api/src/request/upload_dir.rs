//! The directory of files that are being received, and the free space that they leave.

use std::{fmt, io, path::Path};

use domain::{Error, Result};
use tempfile::NamedTempFile;

/// The directory of files that this process receives.
pub trait UploadDir: fmt::Debug + Send + Sync {
    /// The directory.
    fn path(&self) -> &Path;

    /// Returns whether more may be received.
    fn has_space(&self) -> bool;
}

impl dyn UploadDir {
    /// Creates an empty file, which is deleted when it is dropped.
    pub(super) fn create_file(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix("upload-").tempfile_in(self.path())
    }

    /// Returns [`Error::STORAGE_FULL`] if no more may be received.
    pub(super) fn check_space(&self) -> Result<()> {
        if self.has_space() { Ok(()) } else { Err(Error::STORAGE_FULL) }
    }
}
