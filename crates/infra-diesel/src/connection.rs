//! A connection to either database.

use diesel::{
    Connection as _, QueryResult, Selectable, SqliteConnection,
    connection::LoadConnection as _,
    deserialize::FromSqlRow,
    expression::QueryMetadata,
    pg::Pg,
    query_builder::{AsQuery, QueryFragment, QueryId},
    query_dsl::CompatibleType,
    result::Error::DeserializationError,
    sqlite::Sqlite,
};
use diesel_async::{AsyncConnectionCore, AsyncPgConnection};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture};

use crate::{error::DbError, sql::prepared::Prepared};

/// A connection for the length of a read, a write or a transaction.
///
/// PostgreSQL's is a shared reference: queries that are sent before the previous one is answered are pipelined.
pub(crate) enum Connection<'a> {
    Postgres(&'a AsyncPgConnection),
    Sqlite(&'a mut SqliteConnection),
}

/// A query that both databases understand and whose rows decode to `R`: DSL or [`Statement`](crate::sql::statement).
///
/// The futures are boxed: of Diesel's own, generic over the connection's lifetime, the compiler cannot prove that they
/// may move between threads.
pub(crate) trait Select<R>: Send {
    fn load_postgres(self, conn: &AsyncPgConnection) -> BoxFuture<'_, QueryResult<Vec<R>>>;
    fn load_sqlite(self, conn: &mut SqliteConnection) -> QueryResult<Vec<R>>;
}

impl<Q, R, PgType, SqliteType> Select<R> for Q
where
    Q: AsQuery + Send,
    Q::Query: QueryFragment<Pg> + QueryFragment<Sqlite> + QueryId,
    Q::SqlType: CompatibleType<R, Pg, SqlType = PgType> + CompatibleType<R, Sqlite, SqlType = SqliteType>,
    R: FromSqlRow<PgType, Pg> + FromSqlRow<SqliteType, Sqlite> + Send + 'static,
    Pg: QueryMetadata<Q::SqlType>,
    Sqlite: QueryMetadata<Q::SqlType>,
{
    fn load_postgres(self, mut conn: &AsyncPgConnection) -> BoxFuture<'_, QueryResult<Vec<R>>> {
        let rows = AsyncConnectionCore::load(&mut conn, Prepared(self.as_query()));
        let rows = async {
            let decode =
                |row| <R as FromSqlRow<PgType, Pg>>::build_from_row(&row).map_err(DeserializationError);
            rows.await?.map(|row| row.and_then(decode)).try_collect().await
        };
        rows.boxed()
    }

    fn load_sqlite(self, conn: &mut SqliteConnection) -> QueryResult<Vec<R>> {
        let rows = conn.load(Prepared(self.as_query()))?;
        rows.map(|row| {
            <R as FromSqlRow<SqliteType, Sqlite>>::build_from_row(&row?).map_err(DeserializationError)
        })
        .collect()
    }
}

/// Returns the columns of a row struct, for `select` and `returning`. (`R::as_select()` suits only one database.)
pub(crate) fn columns<R: Selectable<Sqlite>>() -> R::SelectExpression {
    R::construct_selection()
}

/// A command that both databases understand.
pub(crate) trait Command: QueryFragment<Pg> + QueryFragment<Sqlite> + QueryId + Send {
    fn execute_postgres(self, conn: &AsyncPgConnection) -> BoxFuture<'_, QueryResult<usize>>;
}

impl<Q> Command for Q
where
    Q: QueryFragment<Pg> + QueryFragment<Sqlite> + QueryId + Send,
{
    fn execute_postgres(self, mut conn: &AsyncPgConnection) -> BoxFuture<'_, QueryResult<usize>> {
        AsyncConnectionCore::execute_returning_count(&mut conn, Prepared(self))
    }
}

/// An async closure whose future can move between threads. (A bound on `AsyncFnOnce` alone cannot say that.)
pub(crate) trait Work<Conn, R>:
    AsyncFnOnce(Conn) -> R + FnOnce(Conn) -> <Self as Work<Conn, R>>::Future
{
    type Future: Future<Output = R>;
}

impl<F, Conn, Fut, R> Work<Conn, R> for F
where
    F: AsyncFnOnce(Conn) -> R + FnOnce(Conn) -> Fut,
    Fut: Future<Output = R>,
{
    type Future = Fut;
}

impl Connection<'_> {
    /// Returns every row of a query.
    pub(crate) async fn load<R, Q>(&mut self, query: Q) -> Result<Vec<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        match self {
            Self::Postgres(conn) => Ok(query.load_postgres(conn).await?),
            Self::Sqlite(conn) => Ok(query.load_sqlite(conn)?),
        }
    }

    /// Returns the first row of a query, which should have one at most.
    pub(crate) async fn first<R, Q>(&mut self, query: Q) -> Result<Option<R>, DbError>
    where
        Q: Select<R>,
        R: Send + 'static,
    {
        Ok(self.load(query).await?.into_iter().next())
    }

    /// Executes a command and returns how many rows it changed.
    pub(crate) async fn execute<Q: Command>(&mut self, command: Q) -> Result<i64, DbError> {
        let changed = match self {
            Self::Postgres(conn) => command.execute_postgres(conn).await?,
            Self::Sqlite(conn) => conn.execute_returning_count(&Prepared(command))?,
        };
        Ok(i64::try_from(changed).unwrap_or(i64::MAX))
    }
}
