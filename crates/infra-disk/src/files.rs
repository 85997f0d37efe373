//! Files that are there whole or not at all. Everything here blocks.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// Where files lie until they are whole; no key has such a name.
const INCOMING: &str = ".incoming";

/// Locked by every process that uses the folder.
const LOCK: &str = ".lock";

/// The folder that the files lie in.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    incoming: PathBuf,
    /// Held, not read: a process that ends, in whatever way, lets go of it.
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, and clears away what a killed process has left half-done.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let incoming = root.join(INCOMING);
        fs::create_dir_all(&incoming)?;
        let root = root.canonicalize()?;
        let incoming = root.join(INCOMING);
        let lock =
            File::options().read(true).write(true).create(true).truncate(false).open(root.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => remove_files(&incoming)?,
            Err(fs::TryLockError::WouldBlock) => {} // they may belong to the other process
            Err(fs::TryLockError::Error(error)) => {
                tracing::warn!(%error, "the media folder cannot be locked, so leftovers stay");
                return Ok(Self { root, incoming, _lock: lock });
            }
        }
        lock.lock_shared()?;
        Ok(Self { root, incoming, _lock: lock })
    }

    /// Where the file of this name lies, or would lie.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Puts a file of `size` bytes under `name`. The source stays.
    pub(crate) fn put(&self, source: &Path, size: Option<u64>, name: &str) -> io::Result<()> {
        let target = self.path(name);
        let original = File::open(source)?;
        // A link would be to the symbolic link itself, which leads elsewhere.
        let is_plain = source.symlink_metadata()?.is_file();
        complete(&original, size)?;
        // Another file system, or a file that is there already, calls for a copy.
        if !is_plain || fs::hard_link(source, &target).is_err() {
            self.copy(original, size)?.persist(&target)?;
        }
        self.sync().inspect_err(|_| {
            let _ = fs::remove_file(&target); // what may not last must not be relied upon
        })
    }

    /// Removes a file; nothing there is fine.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.and_then(|()| self.sync()),
        }
    }

    /// The same content in a file without its final name.
    fn copy(&self, mut original: File, size: Option<u64>) -> io::Result<NamedTempFile> {
        let mut copy = NamedTempFile::new_in(&self.incoming)?;
        io::copy(&mut original, copy.as_file_mut())?;
        complete(copy.as_file(), size)?;
        Ok(copy)
    }

    /// Names survive a power cut only once their folder has been written.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }
}

/// Checks that a file has arrived whole and makes it survive a power cut.
fn complete(file: &File, size: Option<u64>) -> io::Result<()> {
    if size.is_some_and(|size| file.metadata().map_or(true, |found| found.len() != size)) {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has not the announced size"));
    }
    file.sync_all()
}

fn remove_files(folder: &Path) -> io::Result<()> {
    for entry in folder.read_dir()? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}
