//! Pools of connections: one that all share, and one for each HTTP worker.
//!
//! What drives a connection runs on the runtime that opened it. From a thread that has a runtime to itself, as HTTP
//! workers have, a query on a connection of its own wakes no other thread, which would cost more than many a query.

use std::sync::Arc;

use deadpool::Status;
use diesel_async::{
    AsyncPgConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{BuildError, Object, Pool},
    },
};
use futures_util::FutureExt as _;
use thread_local::ThreadLocal;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{
    connect::establish,
    groups::Groups,
    lanes::{Lanes, Shared},
};
use crate::{
    DatabaseConfig,
    connection::{Connection, Select},
    error::DbError,
};

/// Fewer are not worth a pool: who waits for a lock would hold up the worker's other requests.
const FEWEST: usize = 2;

/// How many reads a lane has before there is another.
const READS: usize = 4;

/// Its clones are one.
#[derive(Clone)]
pub(crate) struct Pools(Arc<Inside>);

struct Inside {
    shared: One,
    own: Option<Own>,
}

/// A pool, whose connections go to lanes for reads, and to deeds and transactions. Lanes leave one of them alone: while
/// there is always somebody on a lane, its connection does not come back. Where there is but one, a read has it to itself.
struct One {
    pool: Pool<AsyncPgConnection>,
    reads: Lanes,
    groups: Groups,
}

/// Of each thread that has a runtime to itself.
struct Own {
    pools: ThreadLocal<One>,
    size: usize,
    url: String,
    config: DatabaseConfig,
}

impl Pools {
    pub(crate) fn new(url: &str, config: &DatabaseConfig) -> Result<Self, BuildError> {
        let size = config.connections / (config.workers + 1);
        let has_own = config.workers > 0 && size >= FEWEST;
        let own = has_own.then(|| Own {
            pools: ThreadLocal::with_capacity(config.workers),
            size,
            url: url.to_owned(),
            config: config.clone(),
        });
        let others = if has_own { size * config.workers } else { 0 };
        Ok(Self(Arc::new(Inside { shared: One::new(url, config, config.connections - others)?, own })))
    }

    /// A connection that suits the runtime it is asked for on.
    pub(crate) async fn get(&self) -> Result<Object<AsyncPgConnection>, DbError> {
        Ok(self.of_here()?.pool.get().await?)
    }

    /// The same for reads.
    pub(crate) async fn read(&self) -> Result<Shared<'_>, DbError> {
        let One { pool, reads, .. } = self.of_here()?;
        reads.enter(pool).await
    }

    /// Runs a read and returns its rows.
    pub(crate) async fn load<R, Q>(&self, query: Q) -> Result<Vec<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        let shared = self.read().await?;
        shared.check(Connection::Postgres(shared.connection()).load(query).await)
    }

    /// Where deeds wait for others of their kind.
    pub(super) fn groups(&self) -> Result<&Groups, DbError> {
        Ok(&self.of_here()?.groups)
    }

    /// Whether queries are best made where they are needed.
    pub(crate) fn are_local(&self) -> bool {
        self.0.own.is_some()
    }

    fn of_here(&self) -> Result<&One, DbError> {
        let Some(own) = &self.0.own else { return Ok(&self.0.shared) };
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::CurrentThread => {
                own.pools.get_or_try(|| One::new(&own.url, &own.config, own.size)).map_err(DbError::from)
            }
            _ => Ok(&self.0.shared),
        }
    }

    /// All together.
    pub(crate) fn status(&self) -> Status {
        let own = self.0.own.iter().flat_map(|own| own.pools.iter());
        own.map(One::status).fold(self.0.shared.status(), |sum, one| Status {
            max_size: sum.max_size + one.max_size,
            size: sum.size + one.size,
            available: sum.available + one.available,
            waiting: sum.waiting + one.waiting,
        })
    }
}

impl One {
    fn new(url: &str, config: &DatabaseConfig, size: usize) -> Result<Self, BuildError> {
        let reads = (size / 4).max(usize::from(size > 1));
        Ok(Self {
            pool: pool(url, config, size)?,
            reads: Lanes::new(reads, READS, config.timeout),
            groups: Groups::default(),
        })
    }

    fn status(&self) -> Status {
        let status = self.pool.status();
        let waiting = self.reads.waiting() + self.groups.waiting();
        Status { waiting: status.waiting + waiting, ..status }
    }
}

fn pool(url: &str, config: &DatabaseConfig, size: usize) -> Result<Pool<AsyncPgConnection>, BuildError> {
    let timeout = config.timeout;
    let mut manager = ManagerConfig::default();
    // A ping at each checkout would double the round trips; a dead connection shows at its first query.
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |url| {
        let url = url.to_owned();
        async move { establish(&url, Some(timeout)).await }.boxed()
    });
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, manager);
    Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(timeout))
        .create_timeout(Some(timeout))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
}
