//! Connections that statements share which are committed by themselves. None waits for the answer to the one before it:
//! both are on their way at once (pipelining), and their answers come back in order. So the server is woken once for
//! several of them and does not go to sleep in between, which is a good part of what a small statement costs it.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use diesel_async::{
    AsyncPgConnection,
    pooled_connection::deadpool::{Object, Pool, PoolError},
};
use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    time::{Duration, timeout},
};

use crate::error::DbError;

/// How many statements a connection has at most.
const FULL: usize = 32;

/// Some lanes of a pool. They are for reads: a deed waits for the disk.
pub(super) struct Lanes {
    all: Vec<Lane>,
    deep: usize,
    places: Semaphore,
    waiting: AtomicUsize,
    patience: Duration,
}

#[derive(Default)]
struct Lane {
    statements: AtomicUsize,
    open: Mutex<Weak<Open>>,
}

/// A connection, which goes back to its pool with the last of its statements.
struct Open {
    connection: Object<AsyncPgConnection>,
    has_failed: AtomicBool,
}

impl Lanes {
    /// So many lanes, where nobody waits longer than `patience`. Another one is begun when all others have `deep`
    /// statements: a long one holds up those behind it.
    pub(super) fn new(count: usize, deep: usize, patience: Duration) -> Self {
        let all = std::iter::repeat_with(Lane::default).take(count).collect();
        let places = Semaphore::new(count * FULL);
        Self { all, deep, places, waiting: AtomicUsize::new(0), patience }
    }

    /// How many statements wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place on the first lane that is not deep, else on the shallowest; where there are none, a connection that
    /// nobody else uses.
    pub(super) async fn enter(&self, pool: &Pool<AsyncPgConnection>) -> Result<Shared<'_>, DbError> {
        if self.all.is_empty() {
            return Ok(Shared { open: Open::new(pool).await?, _turn: None, _place: None });
        }
        let place = if let Ok(place) = self.places.try_acquire() {
            place
        } else {
            let _waiting = Turn::new(&self.waiting);
            let place = timeout(self.patience, self.places.acquire()).await.ok().and_then(Result::ok);
            place.ok_or_else(|| domain::Error::unavailable("too many statements"))?
        };
        let depth = |lane: &&Lane| lane.statements.load(Ordering::Relaxed);
        let lane = self.all.iter().find(|lane| depth(lane) < self.deep);
        let lane = lane.or_else(|| self.all.iter().min_by_key(depth));
        let lane = lane.ok_or_else(|| domain::Error::internal("there is no lane"))?;
        let turn = Turn::new(&lane.statements);
        let open = match lane.open.try_lock().ok().and_then(|open| sound(&open)) {
            Some(open) => open,
            None => timeout(self.patience, lane.join(pool)).await.map_err(domain::Error::unavailable)??,
        };
        Ok(Shared { open, _turn: Some(turn), _place: Some(place) })
    }
}

impl Open {
    async fn new(pool: &Pool<AsyncPgConnection>) -> Result<Arc<Self>, PoolError> {
        Ok(Arc::new(Self { connection: pool.get().await?, has_failed: AtomicBool::new(false) }))
    }
}

fn sound(open: &Weak<Open>) -> Option<Arc<Open>> {
    open.upgrade().filter(|open| !open.has_failed.load(Ordering::Relaxed))
}

impl Lane {
    /// Its connection, which somebody else may be about to open.
    async fn join(&self, pool: &Pool<AsyncPgConnection>) -> Result<Arc<Open>, PoolError> {
        let mut open = self.open.lock().await;
        if let Some(open) = sound(&open) {
            return Ok(open);
        }
        let fresh = Open::new(pool).await?;
        *open = Arc::downgrade(&fresh);
        Ok(fresh)
    }
}

/// One of those who are counted.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that others use as well. After an error nobody else begins to: it may be dead.
pub(crate) struct Shared<'a> {
    open: Arc<Open>,
    _turn: Option<Turn<'a>>,
    _place: Option<SemaphorePermit<'a>>,
}

impl Shared<'_> {
    pub(crate) fn connection(&self) -> &AsyncPgConnection {
        &self.open.connection
    }

    /// Passes a result on. After an error the connection gets no more statements.
    pub(crate) fn check<T>(&self, done: Result<T, DbError>) -> Result<T, DbError> {
        done.inspect_err(|_| self.open.has_failed.store(true, Ordering::Relaxed))
    }
}
