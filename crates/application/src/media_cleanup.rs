//! Deleting files that belong to no post.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::{
    Result,
    clock::Clock,
    media::{MediaRepository, MediaStore},
};

/// Delay before a failed deletion is retried.
const RETRY_DELAY: TimeDelta = TimeDelta::minutes(5);
/// Number of deletions that are claimed at once.
const MAX_BATCH_SIZE: i64 = 20;

/// Deletes files that belong to no post.
#[derive(Clone)]
pub struct MediaCleanupService {
    /// Scheduled deletions.
    pub media: Arc<dyn MediaRepository>,
    /// The store that holds the files.
    pub store: Arc<dyn MediaStore>,
    /// The current time.
    pub clock: Arc<dyn Clock>,
}

impl MediaCleanupService {
    /// Deletes the files whose deletion is due and returns their number. Failed deletions are retried later.
    pub async fn delete_orphans(&self) -> Result<usize> {
        let now = self.clock.now();
        let mut deleted = 0;
        loop {
            let keys = self.media.claim_deletions(now, now + RETRY_DELAY, MAX_BATCH_SIZE).await?;
            if keys.is_empty() {
                return Ok(deleted);
            }
            for key in keys {
                match self.store.delete(key.clone()).await {
                    Ok(()) => {
                        self.media.ack_deletion(key).await?;
                        deleted += 1;
                    }
                    Err(error) => tracing::warn!(%error, media.key = key.0, "failed to delete media"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        Error,
        clock::SystemClock,
        media::{MediaKey, MockMediaRepository, MockMediaStore},
    };

    use super::*;

    #[tokio::test]
    async fn every_due_deletion_is_attempted_once() {
        let (mut media, mut store) = (MockMediaRepository::new(), MockMediaStore::new());
        let keys = |numbers: std::ops::Range<u32>| numbers.map(|n| MediaKey(format!("{n}.png"))).collect();
        let mut due: Vec<Vec<MediaKey>> = vec![keys(20..23), keys(0..20)];
        media
            .expect_claim_deletions()
            .times(3)
            .withf(|at, retry_at, _| retry_at > at)
            .returning(move |_, _, _| Ok(due.pop().unwrap_or_default()));
        let fails = |key: &MediaKey| key.0 == "7.png";
        store
            .expect_delete()
            .times(23)
            .returning(move |key| if fails(&key) { Err(Error::unavailable("down")) } else { Ok(()) });
        media.expect_ack_deletion().times(22).withf(move |key| !fails(key)).returning(|_| Ok(()));
        let service = MediaCleanupService {
            media: Arc::new(media),
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
        };
        assert_eq!(service.delete_orphans().await, Ok(22));
    }
}
