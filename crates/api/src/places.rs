//! Places for files that arrive.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use domain::{Error, Result, users::UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds how many files there are at once, of everybody and of one user; whoever brings more waits. So nobody can
/// keep the others out by uploads that take their time.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    of_one: usize,
    users: Mutex<HashMap<UserId, Weak<Semaphore>>>,
}

/// Somebody's place, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _of_user: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    /// So many places in all, and so many of them for one user.
    pub fn new(all: usize, of_one: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_one, users: Mutex::default() }
    }

    /// Waits for a place. Users wait for their own first, so that they have no more in the line of all.
    pub(crate) async fn take(&self, user: UserId) -> Result<Place> {
        let of_user = self.of(user).acquire_owned().await.map_err(Error::unavailable)?;
        let of_all = self.all.clone().acquire_owned().await.map_err(Error::unavailable)?;
        Ok(Place { _of_user: of_user, _of_all: of_all })
    }

    /// How many more there may be.
    pub fn free(&self) -> usize {
        self.all.available_permits()
    }

    fn of(&self, user: UserId) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = users.get(&user).and_then(Weak::upgrade) {
            return places;
        }
        // Only those who have a place or wait for one are remembered.
        users.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.of_one));
        users.insert(user, Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    #[test]
    fn one_user_cannot_take_the_places_of_all() {
        let places = Places::new(3, 2);
        let take = |user| places.take(user).now_or_never().map(Result::unwrap);
        let anns = [take(ANN).unwrap(), take(ANN).unwrap()];
        let mut third = Box::pin(places.take(ANN));
        assert!(third.as_mut().now_or_never().is_none());
        let _bobs = take(BOB).unwrap();
        assert!(take(BOB).is_none(), "there are three in all");
        drop(anns);
        assert!(third.as_mut().now_or_never().is_some());
    }

    #[test]
    fn who_has_no_place_is_forgotten() {
        let places = Places::new(3, 2);
        for user in 1..9 {
            drop(places.take(UserId(user)).now_or_never());
        }
        assert_eq!(places.users.lock().unwrap().len(), 1);
    }
}
