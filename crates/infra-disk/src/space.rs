//! Free space.

use std::{io, path::Path};

/// Returns how many bytes are left on the disk of `path`, for programs without privileges.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
