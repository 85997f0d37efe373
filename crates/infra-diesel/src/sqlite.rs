//! SQLite: the file, its writer, its readers, and migrations.

use std::path::Path;

use chrono::{DateTime, Utc};
use diesel::{
    Connection as _, ConnectionError, QueryResult, SqliteConnection, connection::SimpleConnection as _,
    query_builder::AstPass, query_dsl::methods::LoadQuery as _,
};
use diesel_async::{
    AsyncConnection as _, SimpleAsyncConnection as _,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
    sync_connection_wrapper::SyncConnectionWrapper,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use domain::users::UserId;
use futures_util::FutureExt as _;

use crate::{DatabaseConfig, DatabaseError, PoolState, SchemaState, Seed, error::Fault, lock::FileLock};

pub(crate) type Backend = diesel::sqlite::Sqlite;
pub(crate) type Connection = SyncConnectionWrapper<SqliteConnection, Here>;
pub(crate) type Moment = diesel::sql_types::TimestamptzSqlite;

/// Arrays, which there are none of.
pub(crate) enum Many {}

impl Many {
    #[allow(clippy::unused_self)]
    fn push(&self, _: &mut AstPass<'_, '_, Backend>) -> QueryResult<()> {
        match *self {}
    }
}

/// Runs a block as one transaction of the writer's.
macro_rules! transaction {
    ($repositories:expr, |$tx:ident| $body:block) => {
        $repositories.write.run(async move |$tx| $body).await
    };
}

/// Runs a block whose statements could each be committed by itself. Here they are one transaction, too.
macro_rules! autocommit {
    ($repositories:expr, |$conn:ident| $body:block) => {
        $repositories.write.run::<_, _, $crate::error::Fault>(async move |$conn| $body).await
    };
}

/// Runs a block that finds something, for a viewer.
macro_rules! read_for {
    ($repositories:expr, $viewer:expr, |$conn:ident| $body:block) => {{
        let (_, mut pooled) = ($viewer, $repositories.reader().await?);
        let $conn: &mut $crate::sqlite::Connection = &mut pooled;
        let found: Result<Option<_>, $crate::error::Fault> = async { $body }.await;
        found
    }};
}

/// Nothing: there is one writer at a time.
macro_rules! locked {
    () => {
        ""
    };
}

/// The moment so many seconds after 1970, as Diesel writes moments.
macro_rules! moment {
    ($seconds:literal) => {
        concat!("strftime('%Y-%m-%d %H:%M:%S+00:00', ", $seconds, ", 'unixepoch')")
    };
}

/// Before every moment.
macro_rules! never {
    () => {
        "''"
    };
}

#[path = "sqlite/deeds.rs"]
mod deeds;
#[path = "sqlite/place.rs"]
mod place;
#[path = "repositories/mod.rs"]
mod repositories;
#[path = "sqlite/writer.rs"]
mod writer;

use place::Here;
use repositories::{
    row::{Columns, Whole},
    statement::{Runs, Statement},
};
use writer::Writer;

impl diesel::RunQueryDsl<SqliteConnection> for Statement {}

/// Without the copies of binds and rows that the wrapper makes for other threads.
impl Runs for Connection {
    fn rows<R: Columns + Send + 'static>(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = QueryResult<Vec<Whole<R>>>> + Send {
        self.spawn_blocking(|conn| statement.internal_load(conn)?.collect())
    }

    fn count(&mut self, statement: Statement) -> impl Future<Output = QueryResult<usize>> + Send {
        self.spawn_blocking(move |conn| conn.execute_returning_count(&statement))
    }
}

impl Runs for Object<Connection> {
    fn rows<R: Columns + Send + 'static>(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = QueryResult<Vec<Whole<R>>>> + Send {
        Runs::rows(&mut **self, statement)
    }

    fn count(&mut self, statement: Statement) -> impl Future<Output = QueryResult<usize>> + Send {
        Runs::count(&mut **self, statement)
    }
}

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
/// An acknowledged commit survives a power cut: `synchronous = FULL`.
const WRITER: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;";
/// Small, for each reader has one, and the system keeps the file in memory for all of them.
const READER: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; \
    PRAGMA cache_size = -2000;";

/// Nothing: there is one writer at a time.
const ONE_AT_A_TIME: &[&str] = &[];

/// Before when posts no longer change without a trace: whatever is in a block leaves one.
#[allow(clippy::unused_async)] // as on PostgreSQL
async fn settled<C: Runs>(_: &mut C) -> Result<Option<DateTime<Utc>>, Fault> {
    Ok(Some(repositories::FAR_FUTURE))
}

/// The indexes that a seed fills: all but those that are part of a table.
const INDEXES: &str = "SELECT 'DROP INDEX ' || name AS undo, sql AS redo FROM sqlite_master
    WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('posts', 'comments', 'likes', 'follows', 'notifications')";

/// Every repository.
pub(crate) struct Repositories {
    read: Pool<Connection>,
    write: Writer,
    /// Keeps other processes off the file while this lives.
    _lock: FileLock,
}

impl Repositories {
    async fn reader(&self) -> Result<Object<Connection>, Fault> {
        Ok(self.read.get().await?)
    }

    /// Whether it is best asked where it is needed.
    #[expect(clippy::unused_self, reason = "PostgreSQL needs it")]
    pub(crate) fn is_local(&self) -> bool {
        true
    }

    /// Nothing: there are no replicas.
    #[allow(clippy::unused_self)]
    fn changed(&self, _users: impl IntoIterator<Item = UserId>) {}

    /// Nothing, too.
    #[allow(clippy::unused_self)]
    fn changed_for_all(&self) {}

    /// How the readers and the writer are.
    pub(crate) fn pools(&self) -> Vec<PoolState> {
        vec![PoolState::of("read", &self.read.status()), self.write.state()]
    }
}

/// Locks and opens the file: one writer, since queueing beats busy waiting in the engine, and readers.
pub(crate) async fn open(path: &Path, config: &DatabaseConfig) -> Result<Repositories, DatabaseError> {
    let lock = FileLock::take(path)?;
    // The writer makes the file and its log before a reader, who may not write, opens them.
    let write = Writer::start(path, config.timeout).await?;
    let mut manager = ManagerConfig::default();
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(|path| {
        let path = path.to_owned();
        async move {
            let mut conn = Connection::establish(&path).await?;
            let bad = |error: diesel::result::Error| ConnectionError::BadConnection(error.to_string());
            conn.batch_execute(READER).await.map_err(bad)?;
            Ok(conn)
        }
        .boxed()
    });
    let manager =
        AsyncDieselConnectionManager::<Connection>::new_with_config(path.to_string_lossy(), manager);
    let read = Pool::builder(manager)
        .max_size(config.connections)
        .wait_timeout(Some(config.timeout))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .map_err(other)?;
    Ok(Repositories { read, write, _lock: lock })
}

pub(crate) async fn migrate(path: &Path, dry_run: bool) -> Result<Vec<String>, DatabaseError> {
    let _lock = FileLock::take(path)?;
    if dry_run && !path.exists() {
        return Ok(SchemaState::compare::<Backend>(&MIGRATIONS, Vec::new())?.pending());
    }
    let path = path.to_string_lossy().into_owned();
    let work = move || {
        let mut conn = SqliteConnection::establish(&path).map_err(other)?;
        conn.batch_execute(WRITER).map_err(other)?;
        let applied = conn.applied_migrations().map_err(other)?.iter().map(ToString::to_string).collect();
        let pending = SchemaState::compare::<Backend>(&MIGRATIONS, applied)?.pending();
        if !dry_run {
            conn.run_pending_migrations(MIGRATIONS).map_err(other)?;
        }
        Ok(pending)
    };
    tokio::task::spawn_blocking(work).await.map_err(other)?
}

pub(crate) async fn schema_state(path: &Path) -> Result<SchemaState, DatabaseError> {
    if !path.exists() {
        return SchemaState::compare::<Backend>(&MIGRATIONS, Vec::new());
    }
    let mut conn = Connection::establish(&path.to_string_lossy()).await.map_err(other)?;
    let applied = repositories::applied_migrations(&mut conn).await.map_err(|fault| other(fault.0))?;
    SchemaState::compare::<Backend>(&MIGRATIONS, applied)
}

pub(crate) async fn seed(path: &Path, seed: &Seed) -> Result<(), DatabaseError> {
    let _lock = FileLock::take(path)?;
    let mut conn = Connection::establish(&path.to_string_lossy()).await.map_err(other)?;
    conn.batch_execute(WRITER).await.map_err(other)?;
    // The rows refer to each other by construction, and are many.
    conn.batch_execute("PRAGMA foreign_keys = OFF; PRAGMA cache_size = -256000;").await.map_err(other)?;
    let filled = conn.transaction(async |tx| {
        if !repositories::seed::is_new(tx).await? {
            return Ok(false);
        }
        repositories::seed::fill(tx, seed).await?;
        Ok(true)
    });
    if !filled.await.map_err(|fault: Fault| other(fault.0))? {
        return Err(DatabaseError::NotNew);
    }
    repositories::blocks::tend_all(&mut conn).await.map_err(|fault| other(fault.0))?;
    Ok(())
}

fn other(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::Other(error.to_string())
}
