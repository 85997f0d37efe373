//! The media store.

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

use crate::files::Folder;

/// The length of a key without its ending: 16 random bytes in base64.
const STEM: usize = 22;

/// Keeps files in a folder, under the names that their keys give. A clone is the same store.
///
/// Private files lie beside public ones: whoever serves them asks who may load them.
#[derive(Debug, Clone)]
pub struct DiskStore(Arc<Folder>);

impl DiskStore {
    /// Opens the folder, makes it if need be, and clears away what a killed process has left half-done, unless
    /// another process uses the folder too.
    pub async fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let folder = spawn_blocking(move || Folder::open(&root)).await.map_err(io::Error::other)??;
        Ok(Self(Arc::new(folder)))
    }

    /// Where the file with this key lies if there is one; `None` if it is no key of ours.
    pub fn path(&self, key: &MediaKey) -> Option<PathBuf> {
        is_ours(key).then(|| self.0.path(&key.0))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = self.0.clone();
        spawn_blocking(move || work(&folder)).await.map_err(Error::internal)?
    }
}

/// Whether a key is one of ours: nothing else gets near the file system.
fn is_ours(key: &MediaKey) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    MediaKind::of_key(key).is_some()
        && key.0.rsplit_once('.').is_some_and(|(stem, _)| stem.len() == STEM && stem.bytes().all(is_base64))
}

/// `key` as the name of a new file.
fn new_name(key: &MediaKey) -> Result<String> {
    if is_ours(key) { Ok(key.0.clone()) } else { Err(Error::internal("not a media key")) }
}

/// Translates a fault of the file system.
fn disk_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::STORAGE_FULL,
        _ => Error::internal(error),
    }
}

/// The same for a copy, whose source may be gone.
fn copy_error(source: &Path, error: io::Error) -> Error {
    let is_gone = error.kind() == io::ErrorKind::NotFound && !source.exists();
    if is_gone { Error::MEDIA_NOT_FOUND } else { disk_error(error) }
}

#[async_trait]
impl MediaStore for DiskStore {
    async fn store(&self, key: MediaKey, file: MediaFile, _is_private: bool) -> Result<Media> {
        let name = new_name(&key)?;
        self.blocking(move |folder| folder.put(&file.path, Some(file.size), &name).map_err(disk_error))
            .await?;
        Ok(Media { key, url: None })
    }

    async fn copy(&self, from: Media, to: MediaKey, _is_private: bool) -> Result<Media> {
        let source = self.path(&from.key).ok_or(Error::MEDIA_NOT_FOUND)?;
        let name = new_name(&to)?;
        self.blocking(move |folder| {
            folder.put(&source, None, &name).map_err(|error| copy_error(&source, error))
        })
        .await?;
        Ok(Media { key: to, url: None })
    }

    async fn delete(&self, key: MediaKey) -> Result<()> {
        if !is_ours(&key) {
            return Ok(()); // nothing can be there
        }
        self.blocking(move |folder| folder.remove(&key.0).map_err(disk_error)).await
    }

    fn private_url(&self, _media: &Media, _expires_at: DateTime<Utc>) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_used_up_quota_are_no_fault_of_ours() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert_eq!(disk_error(kind.into()), Error::STORAGE_FULL);
        }
        assert!(matches!(disk_error(io::ErrorKind::PermissionDenied.into()), Error::Internal(_)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_without_room_is_a_full_disk() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = io::copy(&mut io::Cursor::new([0; 64]), &mut full).unwrap_err();
        assert_eq!(disk_error(error), Error::STORAGE_FULL);
    }
}
