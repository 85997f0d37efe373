//! Pipelined connections: reads share them, and each is sent without waiting for the result of the one before it.
//!
//! Results arrive in the order of the statements. The server process wakes once for several statements instead of once
//! for each, which is a good part of the cost of a small statement.

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

/// Above this many statements on a pipeline the next one is used: a slow statement delays those behind it.
const MAX_DEPTH: usize = 4;

/// Bounds the statements of a pipeline while all pipelines are above [`MAX_DEPTH`].
const MAX_STATEMENTS: usize = 32;

/// The pipelines of a pool. They serve reads only: a write waits for the disk.
pub(super) struct Pipelines {
    all: Vec<Pipeline>,
    permits: Semaphore,
    waiting: AtomicUsize,
    timeout: Duration,
}

#[derive(Default)]
struct Pipeline {
    depth: AtomicUsize,
    connection: Mutex<Weak<SharedConnection>>,
}

/// Returns to its pool after its last statement.
struct SharedConnection {
    connection: Object<AsyncPgConnection>,
    has_failed: AtomicBool,
}

impl Pipelines {
    /// `timeout` bounds how long a statement waits before it is sent.
    pub(super) fn new(count: usize, timeout: Duration) -> Self {
        let all = std::iter::repeat_with(Pipeline::default).take(count).collect();
        let permits = Semaphore::new(count * MAX_STATEMENTS);
        Self { all, permits, waiting: AtomicUsize::new(0), timeout }
    }

    /// Returns how many statements wait because all pipelines are full.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Picks the first pipeline below [`MAX_DEPTH`], otherwise the least loaded one. Without pipelines, returns an
    /// unshared connection.
    pub(super) async fn get(
        &self,
        pool: &Pool<AsyncPgConnection>,
    ) -> Result<PipelinedConnection<'_>, DbError> {
        if self.all.is_empty() {
            let shared = SharedConnection::open(pool).await?;
            return Ok(PipelinedConnection { shared, _depth: None, _permit: None });
        }
        let permit = if let Ok(permit) = self.permits.try_acquire() {
            permit
        } else {
            let _waiting = CountGuard::new(&self.waiting);
            let permit = timeout(self.timeout, self.permits.acquire()).await.ok().and_then(Result::ok);
            permit.ok_or_else(|| domain::Error::unavailable("too many statements"))?
        };
        let depth = |pipeline: &&Pipeline| pipeline.depth.load(Ordering::Relaxed);
        let pipeline = self.all.iter().find(|pipeline| depth(pipeline) < MAX_DEPTH);
        let pipeline = pipeline.or_else(|| self.all.iter().min_by_key(depth));
        let pipeline = pipeline.ok_or_else(|| domain::Error::internal("there is no pipeline"))?;
        let depth = CountGuard::new(&pipeline.depth);
        let shared = match pipeline.connection.try_lock().ok().and_then(|shared| usable(&shared)) {
            Some(shared) => shared,
            None => {
                timeout(self.timeout, pipeline.open(pool)).await.map_err(domain::Error::unavailable)??
            }
        };
        Ok(PipelinedConnection { shared, _depth: Some(depth), _permit: Some(permit) })
    }
}

impl SharedConnection {
    async fn open(pool: &Pool<AsyncPgConnection>) -> Result<Arc<Self>, PoolError> {
        Ok(Arc::new(Self { connection: pool.get().await?, has_failed: AtomicBool::new(false) }))
    }
}

fn usable(shared: &Weak<SharedConnection>) -> Option<Arc<SharedConnection>> {
    shared.upgrade().filter(|shared| !shared.has_failed.load(Ordering::Relaxed))
}

impl Pipeline {
    /// Returns its connection, which another statement may be opening.
    async fn open(&self, pool: &Pool<AsyncPgConnection>) -> Result<Arc<SharedConnection>, PoolError> {
        let mut current = self.connection.lock().await;
        if let Some(shared) = usable(&current) {
            return Ok(shared);
        }
        let shared = SharedConnection::open(pool).await?;
        *current = Arc::downgrade(&shared);
        Ok(shared)
    }
}

/// Counts itself while it exists.
struct CountGuard<'a>(&'a AtomicUsize);

impl<'a> CountGuard<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that other statements use as well. After an error no further statement is sent on it: it may be dead.
pub(super) struct PipelinedConnection<'a> {
    shared: Arc<SharedConnection>,
    _depth: Option<CountGuard<'a>>,
    _permit: Option<SemaphorePermit<'a>>,
}

impl PipelinedConnection<'_> {
    pub(super) fn connection(&self) -> &AsyncPgConnection {
        &self.shared.connection
    }

    /// Passes a result on. After an error no further statement is sent on the connection.
    pub(super) fn check<T>(&self, result: Result<T, DbError>) -> Result<T, DbError> {
        result.inspect_err(|_| self.shared.has_failed.store(true, Ordering::Relaxed))
    }
}
