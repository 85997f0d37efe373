//! Migrations of the SQLite file.

use std::path::Path;

use diesel::{Connection as _, SqliteConnection, sqlite::Sqlite};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::{connect::open_writer, lock::FileLock};
use crate::{
    connection::Connection,
    error::DatabaseError,
    migrations::{SchemaState, applied_migrations},
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

pub(crate) async fn migrate(path: &Path, dry_run: bool) -> Result<Vec<String>, DatabaseError> {
    let _lock = FileLock::take(path)?;
    if dry_run && !path.exists() {
        return Ok(SchemaState::compare::<Sqlite>(&MIGRATIONS, Vec::new())?.pending());
    }
    let path = path.to_owned();
    let work = move || {
        let mut conn = open_writer(&path).map_err(DatabaseError::other)?;
        let applied = conn.applied_migrations().map_err(DatabaseError::other)?;
        let applied = applied.iter().map(ToString::to_string).collect();
        let pending = SchemaState::compare::<Sqlite>(&MIGRATIONS, applied)?.pending();
        if !dry_run {
            conn.run_pending_migrations(MIGRATIONS).map_err(DatabaseError::other)?;
        }
        Ok(pending)
    };
    tokio::task::spawn_blocking(work).await.map_err(DatabaseError::other)?
}

pub(crate) async fn schema_state(path: &Path) -> Result<SchemaState, DatabaseError> {
    if !path.exists() {
        return SchemaState::compare::<Sqlite>(&MIGRATIONS, Vec::new());
    }
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).map_err(DatabaseError::other)?;
    let applied = applied_migrations(&mut Connection::Sqlite(&mut conn)).await?;
    SchemaState::compare::<Sqlite>(&MIGRATIONS, applied)
}
