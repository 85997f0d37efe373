//! A plain connection for development tools.

use diesel::{QueryableByName, SqliteConnection, connection::SimpleConnection as _, sql_types::Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};

use crate::{
    config::DatabaseUrl,
    error::DatabaseError,
    postgres::server::PgServer,
    sqlite::{self, lock::FileLock},
};

/// A connection that executes any SQL, outside of the pools, without a time limit. An SQLite file stays locked against
/// other processes while it is open.
pub struct ToolConnection(Inner);

enum Inner {
    Postgres(Box<AsyncPgConnection>),
    Sqlite(SqliteConnection, #[expect(dead_code, reason = "unlocks when it is dropped")] FileLock),
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    value: String,
}

impl ToolConnection {
    /// Connects to a database.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, DatabaseError> {
        Ok(Self(match url {
            DatabaseUrl::Postgres(url) => Inner::Postgres(Box::new(PgServer::parse(url)?.connect().await?)),
            DatabaseUrl::Sqlite(path) => {
                let lock = FileLock::take(path)?;
                Inner::Sqlite(sqlite::connect::open_writer(path).map_err(DatabaseError::other)?, lock)
            }
        }))
    }

    /// Returns whether this is a PostgreSQL server, otherwise it is an SQLite file.
    pub fn is_postgres(&self) -> bool {
        matches!(self.0, Inner::Postgres(_))
    }

    /// Executes one or more statements.
    pub async fn execute(&mut self, sql: &str) -> Result<(), DatabaseError> {
        let done = match &mut self.0 {
            Inner::Postgres(conn) => conn.batch_execute(sql).await,
            Inner::Sqlite(conn, _) => conn.batch_execute(sql),
        };
        done.map_err(DatabaseError::other)
    }

    /// Returns the text column `value` of every row of a query.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<String>, DatabaseError> {
        let query = diesel::sql_query(sql);
        let rows: Vec<TextRow> = match &mut self.0 {
            Inner::Postgres(conn) => diesel_async::RunQueryDsl::load(query, &mut **conn).await,
            Inner::Sqlite(conn, _) => diesel::RunQueryDsl::load(query, conn),
        }
        .map_err(DatabaseError::other)?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }
}
