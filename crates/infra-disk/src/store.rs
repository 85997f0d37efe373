//! The media store on the local disk.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Error, Result,
    media::{Media, MediaFile, MediaKey, MediaKind, MediaStore},
};
use tokio::task::spawn_blocking;

use crate::directory::Directory;

/// Length of a key without its extension: 16 random bytes in base64.
const STEM_LENGTH: usize = 22;

/// Stores files in a directory, named after their keys. Clones share the directory.
///
/// Private files are stored next to public ones: the route that serves them must check access.
#[derive(Debug, Clone)]
pub struct DiskStore(Arc<Directory>);

impl DiskStore {
    /// Opens the directory and creates it if needed. Removes incomplete files of processes that have ended.
    pub async fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let directory = spawn_blocking(move || Directory::open(&root)).await.map_err(io::Error::other)??;
        Ok(Self(Arc::new(directory)))
    }

    /// Returns the path of the file with this key, whether it exists or not, or `None` if the key is invalid.
    pub fn path(&self, key: &MediaKey) -> Option<PathBuf> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let (stem, _) = key.0.rsplit_once('.')?;
        let is_valid = MediaKind::from_key(key).is_some() && stem.len() == STEM_LENGTH;
        // No other name reaches the file system.
        (is_valid && stem.bytes().all(is_base64)).then(|| self.0.path(&key.0))
    }

    /// Returns the path of a new file.
    fn new_path(&self, key: &MediaKey) -> Result<PathBuf> {
        self.path(key).ok_or_else(|| Error::internal("invalid media key"))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let directory = self.0.clone();
        spawn_blocking(move || work(&directory)).await.map_err(Error::internal)?
    }
}

/// Maps an error of a copy, whose source may not exist.
fn copy_error(source: &Path, error: io::Error) -> Error {
    let is_missing = error.kind() == io::ErrorKind::NotFound && !source.exists();
    if is_missing { Error::MEDIA_NOT_FOUND } else { Error::from_io(error) }
}

#[async_trait]
impl MediaStore for DiskStore {
    async fn store(&self, key: MediaKey, file: MediaFile, _is_private: bool) -> Result<Media> {
        let target = self.new_path(&key)?;
        self.blocking(move |directory| {
            directory.store(&file.path, Some(file.size), &target).map_err(Error::from_io)
        })
        .await?;
        Ok(Media { key, url: None })
    }

    async fn copy(&self, from: Media, to: MediaKey, _is_private: bool) -> Result<Media> {
        let source = self.path(&from.key).ok_or(Error::MEDIA_NOT_FOUND)?;
        let target = self.new_path(&to)?;
        self.blocking(move |directory| {
            directory.store(&source, None, &target).map_err(|error| copy_error(&source, error))
        })
        .await?;
        Ok(Media { key: to, url: None })
    }

    async fn delete(&self, key: MediaKey) -> Result<()> {
        let Some(path) = self.path(&key) else {
            return Ok(()); // no such file can exist
        };
        self.blocking(move |directory| directory.remove(&path).map_err(Error::from_io)).await
    }

    fn signed_url(&self, _media: &Media, _expires_at: DateTime<Utc>) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disk_and_exceeded_quota_map_to_storage_full() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert_eq!(Error::from_io(kind.into()), Error::STORAGE_FULL);
        }
        assert!(matches!(Error::from_io(io::ErrorKind::PermissionDenied.into()), Error::Internal(_)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn writing_to_a_full_device_maps_to_storage_full() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = io::copy(&mut io::Cursor::new([0; 64]), &mut full).unwrap_err();
        assert_eq!(Error::from_io(error), Error::STORAGE_FULL);
    }
}
