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
    /// Opens the directory and creates it if needed. Removes incomplete files of a killed process, unless another
    /// process uses the directory.
    pub async fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let directory = spawn_blocking(move || Directory::open(&root)).await.map_err(io::Error::other)??;
        Ok(Self(Arc::new(directory)))
    }

    /// Returns the path of the file with this key, whether it exists or not, or `None` if the key is invalid.
    pub fn path(&self, key: &MediaKey) -> Option<PathBuf> {
        is_valid(key).then(|| self.0.path(&key.0))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let directory = self.0.clone();
        spawn_blocking(move || work(&directory)).await.map_err(Error::internal)?
    }
}

/// Checks a key. No other name reaches the file system.
fn is_valid(key: &MediaKey) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    MediaKind::from_key(key).is_some()
        && key
            .0
            .rsplit_once('.')
            .is_some_and(|(stem, _)| stem.len() == STEM_LENGTH && stem.bytes().all(is_base64))
}

/// Returns the name of a new file.
fn file_name(key: &MediaKey) -> Result<String> {
    if is_valid(key) { Ok(key.0.clone()) } else { Err(Error::internal("invalid media key")) }
}

/// Maps an error of the file system.
fn disk_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::STORAGE_FULL,
        _ => Error::internal(error),
    }
}

/// Maps an error of a copy, whose source may not exist.
fn copy_error(source: &Path, error: io::Error) -> Error {
    let is_missing = error.kind() == io::ErrorKind::NotFound && !source.exists();
    if is_missing { Error::MEDIA_NOT_FOUND } else { disk_error(error) }
}

#[async_trait]
impl MediaStore for DiskStore {
    async fn store(&self, key: MediaKey, file: MediaFile, _is_private: bool) -> Result<Media> {
        let name = file_name(&key)?;
        self.blocking(move |directory| {
            directory.store(&file.path, Some(file.size), &name).map_err(disk_error)
        })
        .await?;
        Ok(Media { key, url: None })
    }

    async fn copy(&self, from: Media, to: MediaKey, _is_private: bool) -> Result<Media> {
        let source = self.path(&from.key).ok_or(Error::MEDIA_NOT_FOUND)?;
        let name = file_name(&to)?;
        self.blocking(move |directory| {
            directory.store(&source, None, &name).map_err(|error| copy_error(&source, error))
        })
        .await?;
        Ok(Media { key: to, url: None })
    }

    async fn delete(&self, key: MediaKey) -> Result<()> {
        if !is_valid(&key) {
            return Ok(()); // no such file can exist
        }
        self.blocking(move |directory| directory.remove(&key.0).map_err(disk_error)).await
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
            assert_eq!(disk_error(kind.into()), Error::STORAGE_FULL);
        }
        assert!(matches!(disk_error(io::ErrorKind::PermissionDenied.into()), Error::Internal(_)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn writing_to_a_full_device_maps_to_storage_full() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = io::copy(&mut io::Cursor::new([0; 64]), &mut full).unwrap_err();
        assert_eq!(disk_error(error), Error::STORAGE_FULL);
    }
}
