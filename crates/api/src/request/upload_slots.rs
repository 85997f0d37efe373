//! Uploaded files, and the bound on those that are processed at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use domain::{Error, Result, users::UserId};
use tempfile::TempPath;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::Share;

/// Bounds the files that are processed at once, in total and for each user, so that no user can block the others. Further
/// files, which have been received completely, wait.
#[derive(Debug, Clone)]
pub struct UploadSlots {
    total: Arc<Semaphore>,
    per_user: usize,
    users: Arc<Mutex<HashMap<UserId, Weak<Semaphore>>>>,
}

/// A slot that is freed when dropped.
#[derive(Debug)]
pub(crate) struct UploadSlot {
    _user: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

/// A received file, which is deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct Upload {
    pub path: TempPath,
    /// Size in bytes.
    pub size: u64,
    _disk_share: Share<UserId>,
    _slot: UploadSlot,
}

impl Upload {
    pub(super) fn new(path: TempPath, size: u64, disk_share: Share<UserId>, slot: UploadSlot) -> Self {
        Self { path, size, _disk_share: disk_share, _slot: slot }
    }
}

impl UploadSlots {
    /// Makes `total` slots, of which one user may occupy `per_user`.
    pub fn new(total: usize, per_user: usize) -> Self {
        Self { total: Arc::new(Semaphore::new(total)), per_user, users: Arc::default() }
    }

    /// Waits for a slot: first for one of the user's, so that a user never has more than those in the common queue.
    pub(crate) async fn acquire(&self, user: UserId) -> Result<UploadSlot> {
        let user = self.user_slots(user).acquire_owned().await.map_err(Error::unavailable)?;
        let total = self.total.clone().acquire_owned().await.map_err(Error::unavailable)?;
        Ok(UploadSlot { _user: user, _total: total })
    }

    /// Returns the number of free slots.
    pub fn available(&self) -> usize {
        self.total.available_permits()
    }

    fn user_slots(&self, user: UserId) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = users.get(&user).and_then(Weak::upgrade) {
            return slots;
        }
        // Forget users who neither occupy a slot nor wait for one.
        users.retain(|_, slots| slots.strong_count() > 0);
        let slots = Arc::new(Semaphore::new(self.per_user));
        users.insert(user, Arc::downgrade(&slots));
        slots
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    #[test]
    fn one_user_cannot_occupy_all_slots() {
        let slots = UploadSlots::new(3, 2);
        let acquire = |user| slots.acquire(user).now_or_never().map(Result::unwrap);
        let anns = [acquire(ANN).unwrap(), acquire(ANN).unwrap()];
        let mut third = Box::pin(slots.acquire(ANN));
        assert!(third.as_mut().now_or_never().is_none());
        let _bobs = acquire(BOB).unwrap();
        assert!(acquire(BOB).is_none(), "there are three in total");
        drop(anns);
        assert!(third.as_mut().now_or_never().is_some());
    }

    #[test]
    fn users_without_a_slot_are_forgotten() {
        let slots = UploadSlots::new(3, 2);
        for user in 1..9 {
            drop(slots.acquire(UserId(user)).now_or_never());
        }
        assert_eq!(slots.users.lock().unwrap().len(), 1);
    }
}
