//! Connection pools: one for the main runtime, and one for each HTTP worker.
//!
//! A connection is driven by a task of the runtime that opened it. An HTTP worker has a runtime to itself, so a query
//! on a connection of its own wakes no other thread, which would cost more than many a query.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use deadpool::Status;
use diesel_async::{
    AsyncPgConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{BuildError, Object, Pool},
    },
};
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;

use super::{
    batch::Batcher,
    pipeline::{PipelinedConnection, Pipelines},
    server::PgServer,
    writes::{
        comments::CommentBatch,
        likes::{LikeBatch, UnlikeBatch},
        posts::PostBatch,
    },
};
use crate::{
    config::DatabaseConfig,
    connection::{Connection, Select},
    error::{DatabaseError, DbError},
};

/// With fewer connections a worker uses the pool of the main runtime: one request that waits for a lock would hold up
/// all others of the worker.
const MIN_WORKER_CONNECTIONS: usize = 2;

/// All pools of one server. Together they never exceed the configured number of connections.
pub(crate) struct PgPools {
    server: PgServer,
    config: DatabaseConfig,
    /// Connections of each worker, 0 if workers have none of their own.
    worker_size: usize,
    main: Arc<PgPool>,
    workers: Mutex<Vec<Weak<PgPool>>>,
}

impl PgPools {
    /// Makes the pools of the server at `url`. Connections are opened when they are needed.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub(crate) fn new(url: &str, config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let server = PgServer::parse(url)?.with_timeout(config.timeout);
        let share = config.connections / (config.workers + 1);
        let worker_size = if share < MIN_WORKER_CONNECTIONS { 0 } else { share };
        let main = PgPool::new(&server, config, config.connections - worker_size * config.workers);
        let main = Arc::new(main.map_err(DatabaseError::other)?);
        Ok(Self { server, config: config.clone(), worker_size, main, workers: Mutex::default() })
    }

    /// Returns the pool of the main runtime.
    pub(crate) fn main(&self) -> Arc<PgPool> {
        self.main.clone()
    }

    /// Returns a new pool, to be used on one HTTP worker; `None` if the worker must use that of the main runtime.
    pub(crate) fn for_worker(&self) -> Option<Arc<PgPool>> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|worker| worker.strong_count() > 0);
        if self.worker_size == 0 || workers.len() >= self.config.workers {
            return None;
        }
        let pool = Arc::new(PgPool::new(&self.server, &self.config, self.worker_size).ok()?);
        workers.push(Arc::downgrade(&pool));
        Some(pool)
    }

    /// Returns the sums over all pools.
    pub(crate) fn status(&self) -> Status {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = workers.iter().filter_map(Weak::upgrade).map(|pool| pool.status());
        workers.fold(self.main.status(), |sum, pool| Status {
            max_size: sum.max_size + pool.max_size,
            size: sum.size + pool.size,
            available: sum.available + pool.available,
            waiting: sum.waiting + pool.waiting,
        })
    }
}

/// Connections that are used on one runtime. Some of them are pipelines for reads; the others serve batches and
/// transactions.
pub(crate) struct PgPool {
    pool: Pool<AsyncPgConnection>,
    pipelines: Pipelines,
    pub(crate) posts: Batcher<PostBatch>,
    pub(crate) likes: Batcher<LikeBatch>,
    pub(crate) unlikes: Batcher<UnlikeBatch>,
    pub(crate) comments: Batcher<CommentBatch>,
}

impl PgPool {
    fn new(server: &PgServer, config: &DatabaseConfig, size: usize) -> Result<Self, BuildError> {
        let pool = build(server, config, size)?;
        // A pipeline keeps its connection while reads keep coming, so at least one connection is for the others.
        let pipelines = (size / 4).max(usize::from(size > 1));
        // As many may wait for locked rows, if that leaves a connection for writes to other rows.
        let lock_waits = Arc::new(Semaphore::new(if size > 2 { pipelines } else { 0 }));
        // Shorter than requests wait, which is 9/10 of the timeout: no write is sent after its client has got an error.
        let expiry = config.timeout * 4 / 5;
        Ok(Self {
            pipelines: Pipelines::new(pipelines, config.timeout),
            posts: Batcher::new(pool.clone(), lock_waits.clone(), expiry),
            likes: Batcher::new(pool.clone(), lock_waits.clone(), expiry),
            unlikes: Batcher::new(pool.clone(), lock_waits.clone(), expiry),
            comments: Batcher::new(pool.clone(), lock_waits, expiry),
            pool,
        })
    }

    /// Returns a connection for a transaction.
    pub(super) async fn get(&self) -> Result<Object<AsyncPgConnection>, DbError> {
        Ok(self.pool.get().await?)
    }

    /// Runs a read and returns its rows.
    pub(super) async fn load<R, Q>(&self, query: Q) -> Result<Vec<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        let conn = self.read().await?;
        conn.check(Connection::Postgres(conn.connection()).load(query).await)
    }

    /// Returns a connection for reads.
    pub(super) async fn read(&self) -> Result<PipelinedConnection<'_>, DbError> {
        self.pipelines.get(&self.pool).await
    }

    fn status(&self) -> Status {
        let status = self.pool.status();
        let queued =
            self.posts.queued() + self.likes.queued() + self.unlikes.queued() + self.comments.queued();
        Status { waiting: status.waiting + self.pipelines.waiting() + queued, ..status }
    }
}

fn build(
    server: &PgServer,
    config: &DatabaseConfig,
    size: usize,
) -> Result<Pool<AsyncPgConnection>, BuildError> {
    let (server, timeout) = (Arc::new(server.clone()), config.timeout);
    let mut manager = ManagerConfig::default();
    // A ping at each checkout would double the round trips; a dead connection shows at its first query.
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_| {
        let server = server.clone();
        async move { server.connect_for_requests(timeout).await }.boxed()
    });
    // The URL would be passed to the setup, which has parsed it already.
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config("", manager);
    Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(timeout))
        .create_timeout(Some(timeout))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
}
