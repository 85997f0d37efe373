//! Directories of temporary files, one for each process.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// File that is locked while a process uses the directory that it is in.
const LOCK: &str = ".lock";

/// A directory for temporary files of this process, within one that several processes share. The next process that creates
/// one there removes it if this process has ended without removing it.
#[derive(Debug)]
pub struct ProcessDir {
    path: PathBuf,
    /// Only held: the operating system releases the lock however the process ends.
    _lock: File,
}

impl ProcessDir {
    /// Creates a directory in `shared`, which is created if needed, and removes those of processes that have ended.
    /// Blocks.
    pub fn create(shared: &Path) -> io::Result<Self> {
        fs::create_dir_all(shared)?;
        let creating = open_lock(shared)?;
        // While it is held, no other process takes a directory without a lock for an abandoned one.
        if let Err(error) = creating.lock() {
            tracing::warn!(%error, "failed to lock a directory, incomplete files of ended processes stay there");
        } else {
            remove_abandoned(shared)?;
        }
        let path = tempfile::Builder::new().prefix("process-").tempdir_in(shared)?.keep();
        let lock = open_lock(&path)?;
        // Without locks no process removes the directory of another one.
        let _ = lock.lock();
        Ok(Self { path, _lock: lock })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ProcessDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn open_lock(directory: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(directory.join(LOCK))
}

/// Removes the directories of ended processes, and files that are in none: older versions left them.
fn remove_abandoned(shared: &Path) -> io::Result<()> {
    for entry in shared.read_dir()? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            if entry.file_name() != LOCK {
                fs::remove_file(path)?;
            }
        } else if is_abandoned(&path)? {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

fn is_abandoned(directory: &Path) -> io::Result<bool> {
    match open_lock(directory)?.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
