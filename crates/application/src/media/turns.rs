//! Turns between users.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use domain::{Error, Result, users::UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds the work in progress, in total and for each user. Users who wait take turns, so that no user can delay the
/// others by more than one piece of work each.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    total: Arc<Semaphore>,
    per_user: usize,
    users: Arc<Mutex<HashMap<UserId, Weak<Semaphore>>>>,
}

/// A turn that ends when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _user: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

impl Turns {
    /// Allows `total` turns at a time, of which one user may have half, but at least one.
    pub(super) fn new(total: usize) -> Self {
        let total = total.max(1);
        Self { total: Arc::new(Semaphore::new(total)), per_user: (total / 2).max(1), users: Arc::default() }
    }

    /// Waits for a turn: first behind the user's own, so that a user never has more than those in the common queue.
    pub(super) async fn wait(&self, user: UserId) -> Result<Turn> {
        let user = self.user_turns(user).acquire_owned().await.map_err(Error::unavailable)?;
        let total = self.total.clone().acquire_owned().await.map_err(Error::unavailable)?;
        Ok(Turn { _user: user, _total: total })
    }

    fn user_turns(&self, user: UserId) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = users.get(&user).and_then(Weak::upgrade) {
            return turns;
        }
        // Forget users who neither have a turn nor wait for one.
        users.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(self.per_user));
        users.insert(user, Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Poll};

    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);
    const EVE: UserId = UserId(3);

    type Waiting = Pin<Box<dyn Future<Output = Result<Turn>>>>;

    fn wait(turns: &Turns, user: UserId) -> Waiting {
        let turns = turns.clone();
        Box::pin(async move { turns.wait(user).await })
    }

    /// Returns the turn if it is granted now.
    async fn poll(waiting: &mut Waiting) -> Option<Turn> {
        let poll = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
        if let Poll::Ready(turn) = poll { Some(turn.unwrap()) } else { None }
    }

    #[tokio::test]
    async fn user_with_many_files_delays_another_by_one() {
        let turns = Turns::new(1);
        let mut eves: Vec<_> = (0..4).map(|_| wait(&turns, EVE)).collect();
        let first = poll(&mut eves[0]).await.unwrap();
        for waiting in &mut eves[1..] {
            assert!(poll(waiting).await.is_none());
        }
        let (mut anns, mut bobs) = (wait(&turns, ANN), wait(&turns, BOB));
        assert!(poll(&mut anns).await.is_none() && poll(&mut bobs).await.is_none());
        drop(first);
        assert!(poll(&mut eves[1]).await.is_none(), "it precedes files of users who waited");
        drop(poll(&mut anns).await.expect("Ann's turn"));
        drop(poll(&mut bobs).await.expect("Bob's turn"));
        assert!(poll(&mut eves[1]).await.is_some());
    }

    #[tokio::test]
    async fn one_user_has_half_of_the_turns() {
        let turns = Turns::new(4);
        let mut eves: Vec<_> = (0..3).map(|_| wait(&turns, EVE)).collect();
        let _held = [poll(&mut eves[0]).await.unwrap(), poll(&mut eves[1]).await.unwrap()];
        assert!(poll(&mut eves[2]).await.is_none());
        assert!(poll(&mut wait(&turns, ANN)).await.is_some());
    }

    #[tokio::test]
    async fn users_without_a_turn_are_forgotten() {
        let turns = Turns::new(2);
        for user in 1..9 {
            drop(turns.wait(UserId(user)).await);
        }
        assert_eq!(turns.users.lock().unwrap().len(), 1);
    }
}
