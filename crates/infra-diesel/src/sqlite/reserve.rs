//! Disk space for the writes that must succeed on a full disk: those that end sessions, change passwords, and delete.
//!
//! While less than [`MIN_FREE_BYTES`] are free, other writes are refused, so the database itself leaves that much. Others
//! may fill the disk completely: therefore a file of [`RESERVE_BYTES`] is kept, which is removed then. Both are more than
//! the log grows to before SQLite copies it to the database and begins it anew, which takes a few megabytes.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Free space below which only essential writes are executed.
const MIN_FREE_BYTES: u64 = 8 << 20;

/// Size of the file that is removed for essential writes.
const RESERVE_BYTES: u64 = 8 << 20;

/// The reserved space of an SQLite file.
#[derive(Debug)]
pub(super) struct DiskReserve {
    path: PathBuf,
    is_present: bool,
}

impl DiskReserve {
    /// Reserves the space, if there is enough.
    pub(super) fn new(database: &Path) -> Self {
        let path = path_of(database);
        let is_present = fs::metadata(&path).is_ok_and(|file| file.len() >= RESERVE_BYTES);
        Self { path, is_present }
    }

    /// Returns whether there is space for writes that are not essential. Reserves space for the others again, if it was
    /// used and there is enough now.
    pub(super) fn has_space(&mut self) -> bool {
        // Where it is unknown, writing shows whether the disk is full.
        let Ok(free) = free_bytes(&self.path) else { return true };
        if !self.is_present && free >= MIN_FREE_BYTES + RESERVE_BYTES {
            self.is_present = true;
            if let Err(error) = fill(&self.path) {
                tracing::warn!(%error, "failed to reserve disk space: if the disk is full, no session can be ended");
            }
        }
        free >= MIN_FREE_BYTES
    }

    /// Removes the file, for essential writes.
    pub(super) fn release(&mut self) {
        if self.is_present {
            tracing::error!(
                "the disk is full: only sessions can be ended, passwords changed, and posts deleted"
            );
            let _ = fs::remove_file(&self.path);
            self.is_present = false;
        }
    }
}

/// Removes the reserve of a database if the disk is full: to open it takes space.
pub(super) fn release_if_full(database: &Path) {
    let path = path_of(database);
    if free_bytes(&path).is_ok_and(|free| free < MIN_FREE_BYTES) {
        let _ = fs::remove_file(path);
    }
}

fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-reserve");
    name.into()
}

/// Returns how many bytes are left on the disk of a file, which need not exist.
fn free_bytes(file: &Path) -> io::Result<u64> {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    let disk = rustix::fs::statvfs(directory.unwrap_or(Path::new(".")))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn fill(path: &Path) -> io::Result<()> {
    let filled = File::create(path).and_then(|mut file| allocate(&mut file));
    filled.inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Allocates the space of a file, at once where the file system can.
fn allocate(file: &mut File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if rustix::fs::fallocate(&*file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES).is_ok() {
        return Ok(());
    }
    io::copy(&mut io::Read::take(io::repeat(0), RESERVE_BYTES), file).map(drop)
}
