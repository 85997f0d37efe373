//! Connections that reads share. A read does not wait for the one before it: both are on their way at once
//! (pipelining), and come back in order. So the server is woken once for several of them, and answers them without
//! going to sleep in between, which is a good part of what a small read costs it.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use diesel::{
    QueryResult,
    query_builder::{AsQuery, QueryFragment, QueryId},
};
use diesel_async::{
    AsyncConnectionCore, SimpleAsyncConnection,
    pooled_connection::deadpool::{Object, Pool, PoolError},
};
use futures_util::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    time::{Duration, timeout},
};

use super::{Backend, Connection};
use crate::error::Fault;

/// How many reads a connection has before another one is taken: a long one holds up those behind it.
const DEEP: usize = 4;
/// How many reads a connection has at most.
const FULL: usize = 32;

/// The lanes of a pool. The writers have the other half of its connections to themselves, and all of them while
/// nobody reads.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    places: Semaphore,
    waiting: AtomicUsize,
    patience: Duration,
}

#[derive(Default)]
struct Lane {
    readers: AtomicUsize,
    shared: Mutex<Weak<Shared>>,
}

/// A connection, which goes back to its pool with the last of its reads.
struct Shared {
    connection: Object<Connection>,
    has_failed: AtomicBool,
}

impl Lanes {
    /// Lanes for a pool of so many connections, where nobody waits longer than `patience`.
    pub(super) fn new(connections: usize, patience: Duration) -> Self {
        let lanes: Vec<Lane> = std::iter::repeat_with(Lane::default).take((connections / 2).max(1)).collect();
        Self { places: Semaphore::new(lanes.len() * FULL), lanes, waiting: AtomicUsize::new(0), patience }
    }

    /// How many reads wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place on the first lane that is not deep, else on the shallowest.
    pub(super) async fn enter(&self, pool: &Pool<Connection>) -> Result<Reader<'_>, Fault> {
        let place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let _waiting = Turn::new(&self.waiting);
                let place = timeout(self.patience, self.places.acquire()).await;
                place.ok().and_then(Result::ok).ok_or_else(|| domain::Error::unavailable("too many reads"))?
            }
        };
        let depth = |lane: &&Lane| lane.readers.load(Ordering::Relaxed);
        let lane = self.lanes.iter().find(|lane| depth(lane) < DEEP);
        let lane = lane.or_else(|| self.lanes.iter().min_by_key(depth));
        let lane = lane.ok_or_else(|| domain::Error::internal("there is no lane"))?;
        let turn = Turn::new(&lane.readers);
        let shared = match lane.shared.try_lock().ok().and_then(|shared| sound(&shared)) {
            Some(shared) => shared,
            None => timeout(self.patience, lane.open(pool)).await.map_err(domain::Error::unavailable)??,
        };
        Ok(Reader { shared, _turn: turn, _place: place })
    }
}

fn sound(shared: &Weak<Shared>) -> Option<Arc<Shared>> {
    shared.upgrade().filter(|shared| !shared.has_failed.load(Ordering::Relaxed))
}

impl Lane {
    /// Its connection, which somebody else may be about to open.
    async fn open(&self, pool: &Pool<Connection>) -> Result<Arc<Shared>, PoolError> {
        let mut shared = self.shared.lock().await;
        if let Some(shared) = sound(&shared) {
            return Ok(shared);
        }
        let opened = Shared { connection: pool.get().await?, has_failed: AtomicBool::new(false) };
        let opened = Arc::new(opened);
        *shared = Arc::downgrade(&opened);
        Ok(opened)
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

/// A connection that others read from as well. After an error nobody else does: it may be dead.
pub(crate) struct Reader<'a> {
    shared: Arc<Shared>,
    _turn: Turn<'a>,
    _place: SemaphorePermit<'a>,
}

impl Reader<'_> {
    fn watched<'a, T: 'a>(&'a self, query: BoxFuture<'a, QueryResult<T>>) -> BoxFuture<'a, QueryResult<T>> {
        query.inspect_err(|_| self.shared.has_failed.store(true, Ordering::Relaxed)).boxed()
    }
}

impl SimpleAsyncConnection for Reader<'_> {
    async fn batch_execute(&mut self, statements: &str) -> QueryResult<()> {
        let mut connection: &Connection = &self.shared.connection;
        connection.batch_execute(statements).await
    }
}

impl AsyncConnectionCore for Reader<'_> {
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>;
    type Stream<'conn, 'query> = <Connection as AsyncConnectionCore>::Stream<'conn, 'query>;
    type Row<'conn, 'query> = <Connection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = Backend;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Backend> + QueryId + 'query,
    {
        let mut connection: &'conn Connection = &self.shared.connection;
        let query = AsyncConnectionCore::load(&mut connection, source);
        self.watched(query)
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Backend> + QueryId + 'query,
    {
        let mut connection: &'conn Connection = &self.shared.connection;
        let query = AsyncConnectionCore::execute_returning_count(&mut connection, source);
        self.watched(query)
    }
}
