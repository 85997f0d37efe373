//! The server, its pools and its replica.

use std::sync::Arc;

use diesel_async::AsyncConnection as _;
use domain::users::UserId;

use super::{pools::Pools, replica::Replica};
use crate::{
    DatabaseConfig, DatabaseError, PoolState,
    connection::{Connection, Select},
    db::Work,
    error::DbError,
};

/// A PostgreSQL server and perhaps its replica.
pub(crate) struct PostgresDb {
    pub(crate) pools: Pools,
    replica: Option<Arc<Replica>>,
}

impl PostgresDb {
    /// Makes the pools. Connections are opened when they are needed.
    pub(crate) fn new(url: &str, config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let pools = Pools::new(url, config).map_err(DatabaseError::other)?;
        let replica = config.replica.as_deref().map(|url| Pools::new(url, config)).transpose();
        let replica = replica.map_err(DatabaseError::other)?;
        let replica = replica.map(|replica| Replica::follow(replica, pools.clone()));
        Ok(Self { pools, replica })
    }

    pub(crate) async fn read<R, F>(&self, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send,
        R: Send,
    {
        let shared = self.pools.read().await?;
        shared.check(work(&mut Connection::Postgres(shared.connection())).await)
    }

    pub(crate) async fn load<R, Q>(&self, query: Q) -> Result<Vec<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        self.pools.load(query).await
    }

    /// Returns what the replica finds for a viewer: `None` if it may be too old, is too slow, fails, or has no row.
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

    pub(crate) async fn write<R, E, F>(&self, work: F) -> Result<R, E>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, E>, Future: Send> + Send,
        R: Send,
        E: From<DbError> + Send,
    {
        let conn = self.pools.get().await?;
        work(&mut Connection::Postgres(&conn)).await
    }

    pub(crate) async fn transaction<R, E, F>(&self, work: F) -> Result<R, E>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, E>, Future: Send> + Send,
        R: Send,
        E: From<DbError> + From<diesel::result::Error> + Send,
    {
        let mut conn = self.pools.get().await?;
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

    pub(crate) fn pools(&self) -> Vec<PoolState> {
        let primary = PoolState::of("all", &self.pools.status());
        std::iter::once(primary).chain(self.replica.as_ref().map(|replica| replica.pool())).collect()
    }
}
