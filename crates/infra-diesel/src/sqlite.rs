//! SQLite: the file, its writer, its readers, and migrations.

use std::path::Path;

use diesel::{Connection as _, ConnectionError, SqliteConnection, connection::SimpleConnection as _};
use diesel_async::{
    AsyncConnection as _, SimpleAsyncConnection as _,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
    sync_connection_wrapper::SyncConnectionWrapper,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use futures_util::FutureExt as _;

use crate::{DatabaseConfig, DatabaseError, SchemaState, Seed, error::Fault, lock::FileLock};

pub(crate) type Backend = diesel::sqlite::Sqlite;
pub(crate) type Connection = SyncConnectionWrapper<SqliteConnection>;
pub(crate) type Moment = diesel::sql_types::TimestamptzSqlite;
pub(crate) type Pools = Pool<Connection>;

macro_rules! transaction {
    ($conn:expr, |$tx:ident| $body:block) => {
        // Immediate: a transaction that reads first and writes then could not wait for another writer.
        ($conn).immediate_transaction(async |$tx| $body).await
    };
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
#[path = "repositories/mod.rs"]
mod repositories;

pub(crate) use repositories::Repositories;

/// Whether whoever reads and whoever writes share their connections.
const SHARED_POOL: bool = false;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
/// An acknowledged commit survives a power cut: `synchronous = FULL`.
const WRITER: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;";
const READER: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; \
    PRAGMA mmap_size = 268435456; PRAGMA cache_size = -8000;";

impl Repositories {
    pub(crate) async fn reader(&self) -> Result<Object<Connection>, Fault> {
        Ok(self.read.get().await?)
    }

    /// Never: a query that is given up must block, which only threads of a multi-thread runtime can.
    #[expect(clippy::unused_self, reason = "PostgreSQL needs it")]
    pub(crate) fn is_local(&self) -> bool {
        false
    }
}

/// Locks and opens the file: one writer, for queueing in the pool beats busy waiting in the engine, and some readers.
pub(crate) async fn open(path: &Path, config: &DatabaseConfig) -> Result<Repositories, DatabaseError> {
    let lock = FileLock::take(path)?;
    let pool = |size: usize, pragmas: &'static str| {
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |url| {
            let url = url.to_owned();
            async move {
                let mut conn = Connection::establish(&url).await?;
                let bad = |error: diesel::result::Error| ConnectionError::BadConnection(error.to_string());
                conn.batch_execute(pragmas).await.map_err(bad)?;
                Ok(conn)
            }
            .boxed()
        });
        let manager =
            AsyncDieselConnectionManager::<Connection>::new_with_config(path.to_string_lossy(), manager);
        Pool::builder(manager)
            .max_size(size)
            .wait_timeout(Some(config.timeout))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(other)
    };
    let write = pool(1, WRITER)?;
    // The writer makes the file and its log before a reader, who may not write, opens them.
    drop(write.get().await.map_err(other)?);
    Ok(Repositories { read: pool(config.connections, READER)?, write, _lock: Some(lock) })
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
    let done: Result<bool, Fault> = transaction!(&mut conn, |tx| {
        if !repositories::seed::is_new(tx).await? {
            return Ok(false);
        }
        repositories::seed::fill(tx, seed).await?;
        Ok(true)
    });
    if done.map_err(|fault| other(fault.0))? { Ok(()) } else { Err(DatabaseError::NotNew) }
}

fn other(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::Other(error.to_string())
}
