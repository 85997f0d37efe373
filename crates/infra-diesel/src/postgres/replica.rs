//! A replica, which takes over reads that may be a little old.
//!
//! How far it has followed is asked again and again: everything that was committed before a certain moment is
//! there. Whoever has done something since, or was told of something, reads from the primary; so does everybody
//! if that moment is long ago, because the replica is slow or away. What only this process knows of, it cannot
//! know of other processes: see the README.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use domain::users::UserId;

use super::pools::Pools;
use crate::{
    PoolState,
    connection::{Connection, Select},
    error::DbError,
    sql::{
        row::row,
        statement::{Statement, sql},
    },
};

/// How often it is asked.
const PERIOD: Duration = Duration::from_millis(250);
/// How old it may be, and how long an answer of it may take.
const OLDEST: Duration = Duration::from_secs(3);
/// Of so many users it is remembered when they did something; of more, that somebody did.
const REMEMBERED: usize = 100_000;

/// A replica of the database.
pub(crate) struct Replica {
    pool: Pools,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was committed before this moment, it has.
    has: Option<Instant>,
    /// When these users last did something or were told of something.
    changed: HashMap<UserId, Instant>,
    /// When something happened that everybody has to know.
    changed_for_all: Option<Instant>,
}

impl State {
    fn serves(&self, viewer: Option<UserId>, now: Instant) -> bool {
        let Some(has) = self.has.filter(|has| now.duration_since(*has) < OLDEST) else { return false };
        let changed = viewer.and_then(|viewer| self.changed.get(&viewer));
        [changed, self.changed_for_all.as_ref()].into_iter().flatten().all(|at| *at < has)
    }

    fn change(&mut self, users: impl IntoIterator<Item = UserId>, at: Instant) {
        self.changed.extend(users.into_iter().map(|user| (user, at)));
        if self.changed.len() > REMEMBERED {
            self.changed.clear();
            self.changed_for_all = Some(at);
        }
    }

    fn follow(&mut self, has: Instant) {
        self.has = Some(has);
        self.changed.retain(|_, at| *at >= has);
    }
}

row! {
    struct PositionRow {
        position: String,
    }
}

row! {
    struct ReachedRow {
        is_reached: bool,
    }
}

impl Replica {
    /// Follows a replica for as long as the answer lives.
    pub(super) fn follow(pool: Pools, primary: Pools) -> Arc<Self> {
        let replica = Arc::new(Self { pool, state: Mutex::default() });
        tokio::spawn(watch(Arc::downgrade(&replica), primary));
        replica
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rows of the query that `make` returns, if this user finds here what is on the primary, but for
    /// others' last deeds.
    pub(super) async fn load<R, Q>(&self, viewer: Option<UserId>, make: impl Fn() -> Q) -> Option<Vec<R>>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        if !self.state().serves(viewer, Instant::now()) {
            return None;
        }
        let query = make();
        self.in_time(async {
            let rows = self.pool.load(query).await?;
            Ok((!rows.is_empty()).then_some(rows))
        })
        .await
    }

    /// What a read finds, if it finds something and in time. If it fails, everybody reads from the primary
    /// until the replica has been seen to be well.
    pub(super) async fn in_time<T>(
        &self,
        read: impl Future<Output = Result<Option<T>, DbError>>,
    ) -> Option<T> {
        if let Ok(Ok(found)) = tokio::time::timeout(OLDEST, read).await {
            return found;
        }
        self.state().has = None;
        None
    }

    /// Remembers that these users did something or were told of something.
    pub(super) fn changed(&self, users: impl IntoIterator<Item = UserId>) {
        self.state().change(users, Instant::now());
    }

    /// Remembers that something was changed that nobody may see as it was.
    pub(super) fn changed_for_all(&self) {
        self.state().changed_for_all = Some(Instant::now());
    }

    pub(super) fn pool(&self) -> PoolState {
        PoolState::of("replica", &self.pool.status())
    }

    async fn has_reached(&self, position: String) -> Result<Option<bool>, DbError> {
        // Nothing on a server that follows nobody.
        let reached = sql!(
            "SELECT coalesce(pg_last_wal_replay_lsn() >= CAST(? AS pg_lsn), false) AS is_reached",
            position
        );
        let row = reached.first::<ReachedRow>(&mut Connection::Postgres(&*self.pool.get().await?)).await?;
        Ok(row.map(|row| row.is_reached))
    }
}

/// Asks the primary where it is, and a little later the replica whether it has come there.
async fn watch(replica: Weak<Replica>, primary: Pools) {
    loop {
        let asked = position(&primary).await;
        tokio::time::sleep(PERIOD).await;
        let Some(replica) = replica.upgrade() else { return };
        let Ok(Some((at, position))) = asked else { continue };
        if replica.in_time(replica.has_reached(position)).await == Some(true) {
            replica.state().follow(at);
        }
    }
}

/// A moment, and a position that whatever was committed before it lies before.
async fn position(primary: &Pools) -> Result<Option<(Instant, String)>, DbError> {
    let conn = primary.get().await?;
    let at = Instant::now();
    let mut conn = Connection::Postgres(&conn);
    let row =
        sql!("SELECT CAST(pg_current_wal_insert_lsn() AS text) AS position").first::<PositionRow>(&mut conn);
    Ok(row.await?.map(|row| (at, row.position)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Option<UserId> = Some(UserId(1));
    const BOB: Option<UserId> = Some(UserId(2));

    #[test]
    fn it_serves_whoever_it_has_everything_for_while_it_is_not_too_old() {
        let (mut state, begin) = (State::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!state.serves(ANN, at(0)), "it has not been asked");
        state.follow(at(10));
        state.change(ANN, at(11));
        for (viewer, is_served) in [(ANN, false), (BOB, true), (None, true)] {
            assert_eq!(state.serves(viewer, at(11)), is_served);
        }
        assert!(!state.serves(BOB, at(14)), "it is too old");
        state.follow(at(12));
        assert!(state.serves(ANN, at(13)));
        assert!(state.changed.is_empty());
        state.changed_for_all = Some(at(13));
        assert!(!state.serves(BOB, at(13)) && !state.serves(None, at(13)));
        state.follow(at(14));
        assert!(state.serves(BOB, at(14)));
    }

    #[test]
    fn of_too_many_it_is_remembered_that_somebody_did_something() {
        let (mut state, begin) = (State::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        state.follow(at(1));
        state.change((0..=100_000).map(UserId), at(2));
        assert!(state.changed.is_empty());
        assert!(!state.serves(Some(UserId(7)), at(2)) && !state.serves(Some(UserId(-1)), at(2)));
        state.follow(at(3));
        assert!(state.serves(Some(UserId(7)), at(3)));
    }
}
