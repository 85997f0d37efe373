//! A media store in memory.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Error, Result,
    media::{Media, MediaFile, MediaKey, MediaStore},
};

type Files = HashMap<MediaKey, Vec<u8>>;

/// Stores files in memory, as a store whose files this server serves. Clones share their files.
#[derive(Clone, Default)]
pub struct InMemoryMediaStore(Arc<Mutex<Files>>);

impl InMemoryMediaStore {
    /// Returns the content of a file.
    pub fn get(&self, key: &MediaKey) -> Option<Vec<u8>> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MediaStore for InMemoryMediaStore {
    async fn store(&self, key: MediaKey, file: MediaFile, _is_private: bool) -> Result<Media> {
        let content = fs::read(&file.path).map_err(Error::internal)?;
        self.lock().insert(key.clone(), content);
        Ok(Media { key, url: None })
    }

    async fn copy(&self, from: Media, to: MediaKey, _is_private: bool) -> Result<Media> {
        let content = self.get(&from.key).ok_or(Error::MEDIA_NOT_FOUND)?;
        self.lock().insert(to.clone(), content);
        Ok(Media { key: to, url: None })
    }

    async fn delete(&self, key: MediaKey) -> Result<()> {
        self.lock().remove(&key);
        Ok(())
    }

    fn signed_url(&self, _media: &Media, _expires_at: DateTime<Utc>) -> Option<String> {
        None
    }
}
