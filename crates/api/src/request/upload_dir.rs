//! The directory of files that are being received, and the free space that they leave.

use std::{io, path::Path, sync::Arc};

use domain::{Error, Result};
use infra_disk::{ProcessDir, free_bytes};
use tempfile::NamedTempFile;

/// The directory of files that this process receives. Clones share it.
#[derive(Debug, Clone)]
pub struct UploadDir {
    directory: Arc<ProcessDir>,
    reserve: u64,
}

impl UploadDir {
    /// Creates a directory in `shared`, which processes share. Its files leave `reserve` bytes of the disk free, for the
    /// database and everything else.
    pub fn create(shared: &Path, reserve: u64) -> io::Result<Self> {
        Ok(Self { directory: Arc::new(ProcessDir::create(shared)?), reserve })
    }

    /// Creates an empty file, which is deleted when it is dropped.
    pub(super) fn create_file(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix("upload-").tempfile_in(self.directory.path())
    }

    /// Returns [`Error::STORAGE_FULL`] if no more may be received.
    pub(super) fn check_space(&self) -> Result<()> {
        // Where it is unknown, writing shows whether the disk is full.
        let free = free_bytes(self.directory.path()).unwrap_or(u64::MAX);
        if free < self.reserve { Err(Error::STORAGE_FULL) } else { Ok(()) }
    }
}
