//! Migrations and facts about the server.

use chrono::{DateTime, Utc};
use diesel::{dsl::sql, pg::Pg, sql_types};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::server::PgServer;
use crate::{
    connection::Connection,
    error::DatabaseError,
    migrations::{SchemaState, applied_migrations},
    schema::UtcTimestamp,
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
/// Locked while migrating, so that two programs never migrate at once. Any number that no other program uses.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_lock(7303014201)";

pub(crate) async fn migrate(url: &str, dry_run: bool) -> Result<Vec<String>, DatabaseError> {
    let mut conn = PgServer::parse(url)?.connect().await?;
    // The lock is released with the connection.
    diesel::sql_query(MIGRATION_LOCK).execute(&mut conn).await.map_err(DatabaseError::other)?;
    tokio::task::block_in_place(move || {
        let mut harness = AsyncMigrationHarness::new(conn);
        let applied = harness.applied_migrations().map_err(DatabaseError::other)?;
        let applied = applied.iter().map(ToString::to_string).collect();
        let pending = SchemaState::compare::<Pg>(&MIGRATIONS, applied)?.pending();
        if !dry_run {
            harness.run_pending_migrations(MIGRATIONS).map_err(DatabaseError::other)?;
        }
        Ok(pending)
    })
}

pub(crate) async fn schema_state(url: &str) -> Result<SchemaState, DatabaseError> {
    let conn = PgServer::parse(url)?.connect().await?;
    let applied = applied_migrations(&mut Connection::Postgres(&conn)).await.map_err(DatabaseError::query)?;
    SchemaState::compare::<Pg>(&MIGRATIONS, applied)
}

/// Returns the time by the server's clock.
pub(crate) async fn clock(url: &str) -> Result<DateTime<Utc>, DatabaseError> {
    let mut conn = PgServer::parse(url)?.connect().await?;
    let query = diesel::select(sql::<UtcTimestamp>("clock_timestamp()"));
    query.get_result(&mut conn).await.map_err(DatabaseError::other)
}

/// Returns whether the server at `replica` is a replica of the one at `url`.
pub(crate) async fn is_replica(url: &str, replica: &str) -> Result<bool, DatabaseError> {
    let server = async |url| {
        let mut conn = PgServer::parse(url)?.connect().await?;
        let query = diesel::select(sql::<(sql_types::Bool, sql_types::BigInt)>(
            "pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system())",
        ));
        query.get_result::<(bool, i64)>(&mut conn).await.map_err(DatabaseError::other)
    };
    let ((is_replica, replica_system), (_, system)) = (server(replica).await?, server(url).await?);
    Ok(is_replica && replica_system == system)
}
