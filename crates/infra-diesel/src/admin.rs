//! Migrations and checks, before and beside the server.

use chrono::{DateTime, Utc};

use crate::{config::DatabaseUrl, error::DatabaseError, migrations::SchemaState, postgres, sqlite};

/// Applies the pending migrations, under a lock, and returns their names. With `dry_run` it only returns the names.
///
/// # Errors
/// On PostgreSQL [`DatabaseError::Encoding`], [`DatabaseError::TransactionPooling`] and [`DatabaseError::Migrating`].
pub async fn migrate(url: &DatabaseUrl, dry_run: bool) -> Result<Vec<String>, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(url) => postgres::admin::migrate(url, dry_run).await,
        DatabaseUrl::Sqlite(path) => sqlite::admin::migrate(path, dry_run).await,
    }
}

/// Compares the schema of the database with the one that this program expects, and checks that it can be used.
///
/// # Errors
/// On PostgreSQL [`DatabaseError::Encoding`], [`DatabaseError::TransactionPooling`] and, if the schema is current,
/// [`DatabaseError::Privileges`].
pub async fn schema_state(url: &DatabaseUrl) -> Result<SchemaState, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(url) => postgres::admin::schema_state(url).await,
        DatabaseUrl::Sqlite(path) => sqlite::admin::schema_state(path).await,
    }
}

/// Returns the time by the clock of the database server; `None` if the database has none of its own.
pub async fn clock(url: &DatabaseUrl) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(url) => postgres::admin::clock(url).await.map(Some),
        DatabaseUrl::Sqlite(_) => Ok(None),
    }
}

/// Returns whether the server at `replica` is a replica of the database.
pub async fn is_replica(url: &DatabaseUrl, replica: &str) -> Result<bool, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(url) => postgres::admin::is_replica(url, replica).await,
        DatabaseUrl::Sqlite(_) => Ok(false),
    }
}
