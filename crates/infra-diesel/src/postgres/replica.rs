//! A replica, which serves reads that may be slightly outdated.
//!
//! The server regularly asks how far the replica has followed the primary: it has everything that was committed before
//! a certain instant. Users who changed something since, or received a notification, read from the primary. So does
//! everybody if that instant is long ago, because the replica is slow or unreachable. Each process knows only its own
//! changes, not those of other processes: see the README.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use deadpool::Status;
use domain::users::UserId;

use super::pool::{PgPool, PgPools};
use crate::{
    connection::{Connection, Select},
    error::DbError,
    sql::{row::row, statement::statements},
};

/// How often the replica's position is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How outdated the replica may be, and how long a read may take there.
const MAX_DELAY: Duration = Duration::from_secs(3);
/// Bounds the users whose last change is remembered. Above it, all users read from the primary for a while.
const MAX_CHANGED_USERS: usize = 100_000;

/// A replica of the database, as one runtime uses it.
pub(crate) struct Replica {
    pool: Arc<PgPool>,
    shared: Arc<Shared>,
}

/// Used by all runtimes.
struct Shared {
    pools: PgPools,
    state: Mutex<ReplicaState>,
}

#[derive(Default)]
struct ReplicaState {
    /// The replica has everything that was committed before.
    caught_up_to: Option<Instant>,
    /// When these users last changed something or received a notification.
    changed: HashMap<UserId, Instant>,
    /// When something changed that all users must see.
    changed_for_all: Option<Instant>,
}

impl ReplicaState {
    fn can_serve(&self, viewer: Option<UserId>, now: Instant) -> bool {
        let caught_up_to = self.caught_up_to.filter(|at| now.duration_since(*at) < MAX_DELAY);
        let Some(caught_up_to) = caught_up_to else { return false };
        let changed = viewer.and_then(|viewer| self.changed.get(&viewer));
        [changed, self.changed_for_all.as_ref()].into_iter().flatten().all(|at| *at < caught_up_to)
    }

    fn record_change(&mut self, users: impl IntoIterator<Item = UserId>, at: Instant) {
        self.changed.extend(users.into_iter().map(|user| (user, at)));
        if self.changed.len() > MAX_CHANGED_USERS {
            self.changed.clear();
            self.changed_for_all = Some(at);
        }
    }

    fn record_position(&mut self, caught_up_to: Instant) {
        self.caught_up_to = Some(caught_up_to);
        self.changed.retain(|_, at| *at >= caught_up_to);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, ReplicaState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a read and returns its result, if it finds something and in time. If it fails, all reads go to the primary
    /// until the replica has been checked again.
    async fn in_time<T>(&self, read: impl Future<Output = Result<Option<T>, DbError>>) -> Option<T> {
        if let Ok(Ok(found)) = tokio::time::timeout(MAX_DELAY, read).await {
            return found;
        }
        self.state().caught_up_to = None;
        None
    }

    async fn has_reached(&self, position: String) -> Result<Option<bool>, DbError> {
        let conn = self.pools.main().get().await?;
        let row = HAS_REACHED.with((position,)).first::<ReachedRow>(&mut Connection::Postgres(&conn)).await?;
        Ok(row.map(|row| row.is_reached))
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

statements! {
    Postgres: POSITION() = "SELECT CAST(pg_current_wal_insert_lsn() AS text) AS position";
    // The position is null on a server that is no replica.
    Postgres: HAS_REACHED(String) =
        "SELECT coalesce(pg_last_wal_replay_lsn() >= CAST(? AS pg_lsn), false) AS is_reached";
}

impl Replica {
    /// Starts a task that follows the replica's position while the returned value or one made
    /// [`for_worker`](Self::for_worker) exists.
    pub(super) fn start(pools: PgPools, primary: Arc<PgPool>) -> Self {
        let pool = pools.main();
        let shared = Arc::new(Shared { pools, state: Mutex::default() });
        tokio::spawn(watch(Arc::downgrade(&shared), primary));
        Self { pool, shared }
    }

    /// Returns the replica as an HTTP worker uses it.
    pub(super) fn for_worker(&self) -> Self {
        let pool = self.shared.pools.for_worker().unwrap_or_else(|| self.pool.clone());
        Self { pool, shared: self.shared.clone() }
    }

    /// Returns the rows of the query that `make` returns, if the replica has everything that the viewer must see, and finds
    /// a row in time.
    pub(super) async fn load<R, Q>(&self, viewer: Option<UserId>, make: impl Fn() -> Q) -> Option<Vec<R>>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        if !self.shared.state().can_serve(viewer, Instant::now()) {
            return None;
        }
        let query = make();
        let read = async {
            let rows = self.pool.load(query).await?;
            Ok((!rows.is_empty()).then_some(rows))
        };
        self.shared.in_time(read).await
    }

    /// Makes users read from the primary until the replica has what they changed or were notified of.
    pub(super) fn changed(&self, users: impl IntoIterator<Item = UserId>) {
        self.shared.state().record_change(users, Instant::now());
    }

    /// Makes all users read from the primary until the replica has a change that must be seen at once.
    pub(super) fn changed_for_all(&self) {
        self.shared.state().changed_for_all = Some(Instant::now());
    }

    /// Returns the sums over the pools of all runtimes.
    pub(super) fn status(&self) -> Status {
        self.shared.pools.status()
    }
}

/// Regularly reads the primary's position and, a little later, whether the replica has reached it.
async fn watch(replica: Weak<Shared>, primary: Arc<PgPool>) {
    loop {
        let current = position(&primary).await;
        tokio::time::sleep(CHECK_INTERVAL).await;
        let Some(replica) = replica.upgrade() else { return };
        let Ok(Some((at, position))) = current else { continue };
        if replica.in_time(replica.has_reached(position)).await == Some(true) {
            replica.state().record_position(at);
        }
    }
}

/// Returns an instant and a position in the log: everything that was committed before the instant lies before it.
async fn position(primary: &PgPool) -> Result<Option<(Instant, String)>, DbError> {
    let conn = primary.get().await?;
    let at = Instant::now();
    let mut conn = Connection::Postgres(&conn);
    let row = POSITION.with(()).first::<PositionRow>(&mut conn).await?;
    Ok(row.map(|row| (at, row.position)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Option<UserId> = Some(UserId(1));
    const BOB: Option<UserId> = Some(UserId(2));

    #[test]
    fn replica_serves_viewers_whose_changes_it_has_while_it_is_recent() {
        let (mut state, begin) = (ReplicaState::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!state.can_serve(ANN, at(0)), "its position is unknown");
        state.record_position(at(10));
        state.record_change(ANN, at(11));
        for (viewer, is_served) in [(ANN, false), (BOB, true), (None, true)] {
            assert_eq!(state.can_serve(viewer, at(11)), is_served);
        }
        assert!(!state.can_serve(BOB, at(14)), "it is outdated");
        state.record_position(at(12));
        assert!(state.can_serve(ANN, at(13)));
        assert!(state.changed.is_empty());
        state.changed_for_all = Some(at(13));
        assert!(!state.can_serve(BOB, at(13)) && !state.can_serve(None, at(13)));
        state.record_position(at(14));
        assert!(state.can_serve(BOB, at(14)));
    }

    #[test]
    fn changes_of_too_many_users_count_as_a_change_for_all() {
        let (mut state, begin) = (ReplicaState::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        state.record_position(at(1));
        state.record_change((0..=100_000).map(UserId), at(2));
        assert!(state.changed.is_empty());
        assert!(!state.can_serve(Some(UserId(7)), at(2)) && !state.can_serve(Some(UserId(-1)), at(2)));
        state.record_position(at(3));
        assert!(state.can_serve(Some(UserId(7)), at(3)));
    }
}
