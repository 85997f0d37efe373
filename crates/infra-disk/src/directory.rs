//! The media directory, in which files appear complete or not at all. All functions block.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::process_dir::ProcessDir;

/// Subdirectory of incomplete files; no media key has this name.
const INCOMING: &str = ".incoming";

/// The media directory.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    incoming: ProcessDir,
}

impl Directory {
    /// Creates the directory if needed. Removes incomplete files of processes that have ended.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let incoming = ProcessDir::create(&root.join(INCOMING))?;
        Ok(Self { root, incoming })
    }

    /// Returns the path of a file, whether it exists or not.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Stores a copy of `source` as `target`, by a hard link where possible. Fails if `size` is given and differs.
    pub(crate) fn store(&self, source: &Path, size: Option<u64>, target: &Path) -> io::Result<()> {
        let original = File::open(source)?;
        // A hard link to a symbolic link would still depend on the file behind it.
        let is_regular = source.symlink_metadata()?.is_file();
        sync_file(&original, size)?;
        // Linking fails across file systems and if the target exists.
        if !is_regular || fs::hard_link(source, target).is_err() {
            self.copy(original, size)?.persist(target)?;
        }
        self.sync().inspect_err(|_| {
            let _ = fs::remove_file(target); // it might not survive a power failure
        })
    }

    /// Removes a file, if it exists.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync()),
        }
    }

    fn copy(&self, mut original: File, size: Option<u64>) -> io::Result<NamedTempFile> {
        let mut copy = NamedTempFile::new_in(self.incoming.path())?;
        io::copy(&mut original, copy.as_file_mut())?;
        sync_file(copy.as_file(), size)?;
        Ok(copy)
    }

    /// Syncs the directory: without it, names may not survive a power failure.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }
}

/// Syncs a file after checking its size, if given.
fn sync_file(file: &File, size: Option<u64>) -> io::Result<()> {
    if size.is_some_and(|size| file.metadata().map_or(true, |found| found.len() != size)) {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file does not have the announced size",
        ));
    }
    file.sync_all()
}
