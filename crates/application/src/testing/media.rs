//! Files of posts and their scheduled deletions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    media::{MediaAccess, MediaKey, MediaRepository, MediaReservation},
};

use super::store::InMemory;

#[async_trait]
impl MediaRepository for InMemory {
    async fn find_access(&self, key: MediaKey) -> Result<Option<MediaAccess>> {
        let tables = self.lock();
        let post =
            tables.posts.values().find(|post| post.media.as_ref().is_some_and(|media| media.key == key));
        Ok(post.map(|post| MediaAccess { owner: post.author, is_private: post.is_private }))
    }

    async fn reserve(&self, file: MediaReservation) -> Result<bool> {
        let mut tables = self.lock();
        let others = tables.files.iter().filter(|(key, (owner, _))| {
            *owner == file.owner && file.replaces.as_ref().is_none_or(|replaced| replaced.0 != **key)
        });
        let bytes = others.map(|(_, (_, bytes))| bytes).sum::<u64>().saturating_add(file.bytes);
        if file.quota.is_some_and(|quota| bytes > quota) {
            return Ok(false);
        }
        tables.files.insert(file.key.0.clone(), (file.owner, file.bytes));
        tables.deletions.insert(file.key.0, file.due_at);
        Ok(true)
    }

    async fn release(&self, key: MediaKey, at: DateTime<Utc>) -> Result<()> {
        if let Some(due_at) = self.lock().deletions.get_mut(&key.0) {
            *due_at = at;
        }
        Ok(())
    }

    async fn schedule_deletion(&self, key: MediaKey, due_at: DateTime<Utc>) -> Result<()> {
        self.lock().deletions.insert(key.0, due_at);
        Ok(())
    }

    async fn claim_deletions(
        &self,
        at: DateTime<Utc>,
        retry_at: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<MediaKey>> {
        let mut tables = self.lock();
        let mut due: Vec<_> = tables.deletions.iter_mut().filter(|(_, due_at)| **due_at <= at).collect();
        due.sort_by_key(|(_, due_at)| **due_at);
        due.truncate(usize::try_from(limit).unwrap_or_default());
        let claim = |(key, due_at): (&String, &mut DateTime<Utc>)| {
            *due_at = retry_at;
            MediaKey(key.clone())
        };
        Ok(due.into_iter().map(claim).collect())
    }

    async fn ack_deletion(&self, key: MediaKey) -> Result<()> {
        let mut tables = self.lock();
        if tables.deletions.remove(&key.0).is_some() {
            tables.files.remove(&key.0);
        }
        Ok(())
    }
}
