//! The lock file next to an SQLite file, which admits one process at a time.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use crate::error::DatabaseError;

/// Locks an SQLite file against other processes until it is dropped.
pub(crate) struct FileLock(File);

impl FileLock {
    /// Locks the file at `path`.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::InUse`] if another process has locked it.
    pub(crate) fn take(path: &Path) -> Result<Self, DatabaseError> {
        let failed = |error: std::io::Error| DatabaseError::Other(error.to_string());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(DatabaseError::InUse),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for FileLock {
    /// Closing the file is not enough: a process that is just being started has inherited it.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}
