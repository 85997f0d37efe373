//! Routes queries to the database that was chosen at start.

use std::sync::Arc;

use diesel::{pg::Pg, sqlite::Sqlite};
use domain::users::UserId;

use crate::{
    config::PoolState,
    connection::{Command, Connection, Select, Work},
    error::DbError,
    postgres::database::PostgresDb,
    sql::{
        row::{Decoded, FromRow},
        statement::Statement,
    },
    sqlite::{database::SqliteDb, writer::Importance},
    user_cards::UserCards,
};

/// Either database. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Db {
    Postgres(Arc<PostgresDb>),
    Sqlite(Arc<SqliteDb>),
}

/// Implements every repository port, in `repositories/`.
pub(crate) struct Repositories {
    pub(crate) db: Db,
    pub(crate) cards: UserCards,
}

impl Db {
    /// Runs reads on a connection that is shared with other reads: pipelined on PostgreSQL, on the calling thread on
    /// SQLite.
    pub(crate) async fn read<R, F>(&self, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send,
        R: Send,
    {
        match self {
            Self::Postgres(db) => db.read(work).await,
            Self::Sqlite(db) => db.read(work).await,
        }
    }

    /// Returns every row of a query.
    pub(crate) async fn load<R, Q>(&self, query: Q) -> Result<Vec<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        match self {
            Self::Postgres(db) => db.load(query).await,
            Self::Sqlite(db) => Connection::Sqlite(&mut *db.reader().await?).load(query).await,
        }
    }

    /// Returns the first row of a query, which should have one at most.
    pub(crate) async fn first<R, Q>(&self, query: Q) -> Result<Option<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        Ok(self.load(query).await?.into_iter().next())
    }

    /// Runs the query that `make` returns, for a viewer: on the replica if it has all that the viewer has done and
    /// finds a row there, otherwise on the primary.
    pub(crate) async fn load_for<R, Q>(
        &self,
        viewer: Option<UserId>,
        make: impl Fn() -> Q + Send + Sync,
    ) -> Result<Vec<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        if let Self::Postgres(db) = self
            && let Some(rows) = db.load_from_replica(viewer, &make).await
        {
            return Ok(rows);
        }
        self.load(make()).await
    }

    /// Returns every row of a raw statement.
    pub(crate) async fn load_rows<R>(&self, statement: Statement) -> Result<Vec<R>, DbError>
    where
        R: FromRow<Pg> + FromRow<Sqlite> + Send + 'static,
    {
        Ok(decoded(self.load(statement).await?))
    }

    /// Does what [`load_for`](Self::load_for) does with a raw statement.
    pub(crate) async fn load_rows_for<R>(
        &self,
        viewer: Option<UserId>,
        make: impl Fn() -> Statement + Send + Sync,
    ) -> Result<Vec<R>, DbError>
    where
        R: FromRow<Pg> + FromRow<Sqlite> + Send + 'static,
    {
        Ok(decoded(self.load_for(viewer, make).await?))
    }

    /// Executes a single command and commits it.
    pub(crate) async fn execute<Q>(&self, command: Q) -> Result<i64, DbError>
    where
        Q: Command + 'static,
    {
        self.execute_as(Importance::Ordinary, command).await
    }

    /// As [`execute`](Self::execute), on a full disk too if it is essential.
    pub(crate) async fn execute_as<Q>(&self, importance: Importance, command: Q) -> Result<i64, DbError>
    where
        Q: Command + 'static,
    {
        self.write_as(importance, async move |conn: &mut Connection<'_>| conn.execute(command).await).await
    }

    /// Runs commands, each of which may be committed by itself. On SQLite they share a transaction.
    pub(crate) async fn write<R, F>(&self, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send + 'static,
        R: Send + 'static,
    {
        self.write_as(Importance::Ordinary, work).await
    }

    /// As [`write`](Self::write), on a full disk too if it is essential.
    pub(crate) async fn write_as<R, F>(&self, importance: Importance, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send + 'static,
        R: Send + 'static,
    {
        match self {
            Self::Postgres(db) => db.write(work).await,
            Self::Sqlite(db) => db.writer.run_as(importance, work).await,
        }
    }

    /// Runs commands as one transaction. It is rolled back if `work` returns an error.
    pub(crate) async fn transaction<R, F>(&self, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send + 'static,
        R: Send + 'static,
    {
        self.transaction_as(Importance::Ordinary, work).await
    }

    /// As [`transaction`](Self::transaction), on a full disk too if it is essential.
    pub(crate) async fn transaction_as<R, F>(&self, importance: Importance, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send + 'static,
        R: Send + 'static,
    {
        match self {
            Self::Postgres(db) => db.transaction(work).await,
            Self::Sqlite(db) => db.writer.run_as(importance, work).await,
        }
    }

    /// Makes these users read from the primary until the replica has what was committed so far.
    pub(crate) fn note_change(&self, users: impl IntoIterator<Item = UserId>) {
        if let Self::Postgres(db) = self {
            db.note_change(users);
        }
    }

    /// Makes all users read from the primary until the replica has what was committed so far.
    pub(crate) fn note_change_for_all(&self) {
        if let Self::Postgres(db) = self {
            db.note_change_for_all();
        }
    }

    /// Returns a handle for one HTTP worker. See [`Database::for_worker`](crate::Database::for_worker).
    pub(crate) fn for_worker(&self) -> Option<Self> {
        match self {
            Self::Postgres(db) => Some(Self::Postgres(Arc::new(db.for_worker()?))),
            Self::Sqlite(db) => Some(Self::Sqlite(db.clone())),
        }
    }

    /// Returns the state of each pool.
    pub(crate) fn pools(&self) -> Vec<PoolState> {
        match self {
            Self::Postgres(db) => db.pools(),
            Self::Sqlite(db) => db.pools(),
        }
    }
}

fn decoded<R>(rows: Vec<Decoded<R>>) -> Vec<R> {
    rows.into_iter().map(|Decoded(row)| row).collect()
}
