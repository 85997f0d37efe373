//! Where the database is, and how it is used.

use std::{path::PathBuf, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{error::DatabaseError, postgres::server::PgServer};

/// The place of a database.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A PostgreSQL server, as a `postgres://` URL. It may contain a password.
    Postgres(String),
    /// An SQLite file.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// Parses `postgres://…`, `postgresql://…` or `sqlite://path`.
    pub fn parse(url: &str) -> Option<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Some(Self::Postgres(url.to_owned()));
        }
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))?;
        (!path.is_empty()).then(|| Self::Sqlite(PathBuf::from(path)))
    }

    /// Adds the file of trusted certificate authorities (`sslrootcert`), unless the URL names one.
    #[must_use]
    pub fn with_ca_file(self, file: &str) -> Self {
        match self {
            Self::Postgres(url) => {
                let (address, query) = url.split_once('?').unwrap_or((&url, ""));
                let file = utf8_percent_encode(file, NON_ALPHANUMERIC);
                // Of equal parameters the last one counts.
                Self::Postgres(format!("{address}?sslrootcert={file}&{query}"))
            }
            sqlite @ Self::Sqlite(_) => sqlite,
        }
    }

    /// Checks the parameters of a PostgreSQL URL, and reads the files that it names.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn check(&self) -> Result<(), DatabaseError> {
        match self {
            Self::Postgres(url) => PgServer::parse(url).map(|_| ()),
            Self::Sqlite(_) => Ok(()),
        }
    }
}

/// Settings of the connections.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// The database.
    pub url: DatabaseUrl,
    /// A replica, as a `postgres://` URL, for reads that may be slightly outdated. PostgreSQL only.
    pub replica: Option<String>,
    /// Maximum number of open connections; on SQLite, of readers.
    pub connections: usize,
    /// Number of HTTP workers. On PostgreSQL each gets its own share of the connections, if there are enough.
    pub workers: usize,
    /// Maximum time that a request waits for a connection, and that PostgreSQL executes a statement.
    pub timeout: Duration,
}

/// State of a connection pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// Name of the pool in metrics.
    pub name: &'static str,
    /// Number of open connections.
    pub open: usize,
    /// Number of open connections that are unused.
    pub idle: usize,
    /// Number of requests that wait for a connection.
    pub waiting: usize,
}

impl PoolState {
    pub(crate) fn of(name: &'static str, status: &deadpool::Status) -> Self {
        Self { name, open: status.size, idle: status.available, waiting: status.waiting }
    }
}
