//! The server, its pools and its replica.

use std::sync::Arc;

use diesel_async::AsyncConnection as _;
use domain::users::UserId;

use super::{
    pool::{PgPool, PgPools},
    replica::Replica,
};
use crate::{
    config::{DatabaseConfig, PoolState},
    connection::{Connection, Select, Work},
    error::{DatabaseError, DbError},
};

/// A PostgreSQL server and perhaps its replica, on the connections of one runtime.
pub(crate) struct PostgresDb {
    pools: Arc<PgPools>,
    pub(crate) pool: Arc<PgPool>,
    replica: Option<Replica>,
}

impl PostgresDb {
    /// Makes the pools. Connections are opened when they are needed.
    pub(crate) fn new(url: &str, config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let pools = Arc::new(PgPools::new(url, config)?);
        let pool = pools.main();
        let replica = config.replica.as_deref().map(|url| PgPools::new(url, config)).transpose()?;
        let replica = replica.map(|replica| Replica::start(replica, pool.clone()));
        Ok(Self { pools, pool, replica })
    }

    /// Returns the same on connections of one HTTP worker; `None` if there are too few for that.
    pub(crate) fn for_worker(&self) -> Option<Self> {
        let pool = self.pools.for_worker()?;
        let replica = self.replica.as_ref().map(Replica::for_worker);
        Some(Self { pools: self.pools.clone(), pool, replica })
    }

    pub(crate) async fn read<R, F>(&self, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send,
        R: Send,
    {
        let conn = self.pool.read().await?;
        conn.check(work(&mut Connection::Postgres(conn.connection())).await)
    }

    pub(crate) async fn load<R, Q>(&self, query: Q) -> Result<Vec<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        self.pool.load(query).await
    }

    /// Returns what the replica finds for a viewer: `None` if it may be outdated, is too slow, fails, or finds no row.
    pub(crate) async fn load_from_replica<R, Q>(
        &self,
        viewer: Option<UserId>,
        make: impl Fn() -> Q,
    ) -> Option<Vec<R>>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        self.replica.as_ref()?.load(viewer, make).await
    }

    pub(crate) async fn write<R, F>(&self, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send,
        R: Send,
    {
        let conn = self.pool.get().await?;
        work(&mut Connection::Postgres(&conn)).await
    }

    pub(crate) async fn transaction<R, F>(&self, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send,
        R: Send,
    {
        let mut conn = self.pool.get().await?;
        conn.transaction(async move |tx| work(&mut Connection::Postgres(tx)).await).await
    }

    pub(crate) fn note_change(&self, users: impl IntoIterator<Item = UserId>) {
        if let Some(replica) = &self.replica {
            replica.changed(users);
        }
    }

    pub(crate) fn note_change_for_all(&self) {
        if let Some(replica) = &self.replica {
            replica.changed_for_all();
        }
    }

    /// Returns the states of the pools, of all runtimes together.
    pub(crate) fn pools(&self) -> Vec<PoolState> {
        let primary = PoolState::of("all", &self.pools.status());
        let replica = self.replica.as_ref().map(|replica| PoolState::of("replica", &replica.status()));
        std::iter::once(primary).chain(replica).collect()
    }
}
