//! The repositories on PostgreSQL and SQLite, with Diesel.

mod connection;
mod db;
mod error;
mod feed_index;
mod migrations;
mod paging;
mod post_row;
mod postgres;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may panic anywhere
mod prepare_tests;
mod repositories;
mod schema;
mod sql;
mod sqlite;
mod tool;
mod visibility;

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use domain::{
    accounts::AccountRepository, comments::CommentRepository, follows::FollowRepository,
    health::HealthRepository, maintenance::MaintenanceRepository, media::MediaRepository,
    notifications::NotificationRepository, outbox::OutboxRepository, posts::PostRepository,
    sessions::SessionRepository,
};

use db::{Db, Repositories};
pub use migrations::{Migration, SchemaState};
use postgres::database::PostgresDb;
use sqlite::database::SqliteDb;
pub use tool::ToolConnection;

/// Where the data lies.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A PostgreSQL server, as a `postgres://` URL. It may hold a password.
    Postgres(String),
    /// A file of the embedded SQLite.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// Reads `postgres://…`, `postgresql://…` or `sqlite://path`.
    pub fn parse(url: &str) -> Option<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Some(Self::Postgres(url.to_owned()));
        }
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))?;
        (!path.is_empty()).then(|| Self::Sqlite(PathBuf::from(path)))
    }
}

/// How the database is reached.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// Which database.
    pub url: DatabaseUrl,
    /// A replica of it, as a `postgres://` URL, for reads that may be a little old. Not on SQLite.
    pub replica: Option<String>,
    /// How many connections are open at most; on SQLite, how many readers.
    pub connections: usize,
    /// How many threads ask that have a runtime to themselves, as HTTP workers have: on PostgreSQL each gets its own
    /// share of the connections, if there are enough.
    pub workers: usize,
    /// How long a request waits for a connection, and PostgreSQL works on a statement.
    pub timeout: Duration,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another process has the file open.
    #[error("the SQLite file is in use by another server")]
    InUse,
    /// Anything that the driver, the pool or the file system says.
    #[error("{0}")]
    Other(String),
}

impl DatabaseError {
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    fn query(error: error::DbError) -> Self {
        Self::other(error.0)
    }
}

/// How a pool of connections is.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// What it is for.
    pub name: &'static str,
    /// How many connections are open.
    pub open: usize,
    /// How many of them nobody uses.
    pub idle: usize,
    /// How many requests wait for one.
    pub waiting: usize,
}

impl PoolState {
    fn of(name: &'static str, status: &deadpool::Status) -> Self {
        Self { name, open: status.size, idle: status.available, waiting: status.waiting }
    }
}

/// Every repository, on one database.
#[derive(Clone)]
pub struct Database {
    /// Whether an HTTP worker uses it on its own thread. Otherwise it must be used on the main runtime.
    pub is_local: bool,
    db: Db,
    /// How its pools are.
    pub pools: Arc<dyn Fn() -> Vec<PoolState> + Send + Sync>,
    /// Registrations and accounts.
    pub accounts: Arc<dyn AccountRepository>,
    /// Sessions.
    pub sessions: Arc<dyn SessionRepository>,
    /// Mails that are owed.
    pub outbox: Arc<dyn OutboxRepository>,
    /// Posts and likes.
    pub posts: Arc<dyn PostRepository>,
    /// Comments.
    pub comments: Arc<dyn CommentRepository>,
    /// Who follows whom.
    pub follows: Arc<dyn FollowRepository>,
    /// Notifications.
    pub notifications: Arc<dyn NotificationRepository>,
    /// Files of posts.
    pub media: Arc<dyn MediaRepository>,
    /// Readiness and the backlog.
    pub health: Arc<dyn HealthRepository>,
    /// Background maintenance.
    pub maintenance: Arc<dyn MaintenanceRepository>,
}

impl Database {
    fn new(db: Db) -> Self {
        let repositories = Arc::new(Repositories { db: db.clone() });
        let pools = db.clone();
        Self {
            is_local: db.is_local(),
            pools: Arc::new(move || pools.pools()),
            accounts: repositories.clone(),
            sessions: repositories.clone(),
            outbox: repositories.clone(),
            posts: repositories.clone(),
            comments: repositories.clone(),
            follows: repositories.clone(),
            notifications: repositories.clone(),
            media: repositories.clone(),
            health: repositories.clone(),
            maintenance: repositories,
            db,
        }
    }

    /// Returns repositories for one HTTP worker, whose runtime has one thread: call it once in each.
    ///
    /// On PostgreSQL they have their own share of the connections, if there are enough of them, and must be used on that
    /// worker only: the connections are opened and driven on its runtime, so that no query wakes another thread. On
    /// SQLite they are the same, since queries run on the calling thread.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        self.db.for_worker().map_or_else(|| self.clone(), Self::new)
    }
}

/// Opens the pools. PostgreSQL is reached when the first query comes; SQLite's file is made if it is not there, and
/// stays locked against other processes while the answer lives.
pub async fn connect(config: &DatabaseConfig) -> Result<Database, DatabaseError> {
    match &config.url {
        DatabaseUrl::Postgres(url) => {
            Ok(Database::new(Db::Postgres(Arc::new(PostgresDb::new(url, config)?))))
        }
        DatabaseUrl::Sqlite(path) => {
            Ok(Database::new(Db::Sqlite(Arc::new(SqliteDb::open(path, config).await?))))
        }
    }
}

/// Applies the migrations that the database lacks, under a lock, and names them. With `dry_run` it only names them.
pub async fn migrate(url: &DatabaseUrl, dry_run: bool) -> Result<Vec<String>, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(url) => postgres::admin::migrate(url, dry_run).await,
        DatabaseUrl::Sqlite(path) => sqlite::admin::migrate(path, dry_run).await,
    }
}

/// The time that the database has; `None` if it has that of this machine.
pub async fn clock(url: &DatabaseUrl) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(url) => postgres::admin::clock(url).await.map(Some),
        DatabaseUrl::Sqlite(_) => Ok(None),
    }
}

/// Whether the server at `replica` follows that of the database.
pub async fn is_replica(url: &DatabaseUrl, replica: &str) -> Result<bool, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(url) => postgres::admin::is_replica(url, replica).await,
        DatabaseUrl::Sqlite(_) => Ok(false),
    }
}

/// Compares the schema of the database with the one that this program was built for.
pub async fn schema_state(url: &DatabaseUrl) -> Result<SchemaState, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(url) => postgres::admin::schema_state(url).await,
        DatabaseUrl::Sqlite(path) => sqlite::admin::schema_state(path).await,
    }
}
