use std::{io, path::Path};

use crate::{ProcessDir, space::free_bytes};

/// The directory of files that this process receives.
#[derive(Debug)]
pub struct UploadDir {
    directory: ProcessDir,
    reserve: u64,
}

impl UploadDir {
    /// Creates a directory in `shared`, which processes share. Its files leave `reserve` bytes of the disk free, for the
    /// database and everything else.
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub fn create(shared: &Path, reserve: u64) -> io::Result<Self> {
        Ok(Self { directory: ProcessDir::create(shared)?, reserve })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns whether more may be received. Where the free space is unknown, writing shows whether the disk is full.
    pub fn has_space(&self) -> bool {
        free_bytes(self.path()).unwrap_or(u64::MAX) >= self.reserve
    }
}
