//! Migrations and facts about the server.

use chrono::{DateTime, Utc};
use diesel::{dsl::sql, pg::Pg, sql_types};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use tokio_postgres::error::SqlState;

use super::{
    checks::{check_privileges, check_server},
    server::PgServer,
    sqlstate::sqlstate_of,
};
use crate::{
    connection::Connection,
    error::DatabaseError,
    migrations::{SchemaState, applied_migrations},
    schema::UtcTimestamp,
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
/// Locked while migrating, so that two programs never migrate at once. Any number that no other program uses.
const MIGRATION_LOCK: i64 = 7_303_014_201;
/// How long a program waits while another one migrates.
const LOCK_TIMEOUT: &str = "1min";

pub(crate) async fn migrate(url: &str, dry_run: bool) -> Result<Vec<String>, DatabaseError> {
    let server = PgServer::parse(url)?;
    check_server(&server).await?;
    let mut conn = server.connect().await?;
    if !dry_run {
        lock_migrations(&mut conn, LOCK_TIMEOUT).await?;
    }
    let pending = read_schema_state(&conn).await?.pending();
    if !dry_run && !pending.is_empty() {
        tokio::task::block_in_place(move || {
            let mut harness = AsyncMigrationHarness::new(conn);
            harness.run_pending_migrations(MIGRATIONS).map(|_| ()).map_err(DatabaseError::failed)
        })?;
    }
    Ok(pending)
}

async fn read_schema_state(conn: &AsyncPgConnection) -> Result<SchemaState, DatabaseError> {
    let applied = applied_migrations(&mut Connection::Postgres(conn)).await?;
    SchemaState::compare::<Pg>(&MIGRATIONS, applied)
}

/// Waits for the lock, which is released with the connection.
async fn lock_migrations(conn: &mut AsyncPgConnection, timeout: &str) -> Result<(), DatabaseError> {
    let lock = format!(
        "SET lock_timeout = '{timeout}'; SELECT pg_advisory_lock({MIGRATION_LOCK}); RESET lock_timeout"
    );
    let Err(error) = conn.batch_execute(&lock).await else { return Ok(()) };
    if sqlstate_of(&error.to_string()) != Some(SqlState::LOCK_NOT_AVAILABLE) {
        return Err(DatabaseError::failed(error));
    }
    let holder = format!(
        "SELECT concat_ws(' ', 'process', pid, 'of user', usename, 'from', coalesce(host(client_addr), 'this machine'))
         FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) + objid::bigint = {MIGRATION_LOCK}"
    );
    let holder: Result<Vec<String>, _> =
        diesel::select(sql::<sql_types::Text>(&format!("({holder})"))).load(conn).await;
    Err(DatabaseError::Migrating(holder.ok().and_then(|mut rows| rows.pop()).unwrap_or_default()))
}

pub(crate) async fn schema_state(url: &str) -> Result<SchemaState, DatabaseError> {
    let server = PgServer::parse(url)?;
    check_server(&server).await?;
    let state = read_schema_state(&server.connect().await?).await?;
    if state.is_current() {
        check_privileges(&server).await?;
    }
    Ok(state)
}

/// Returns the time by the server's clock.
pub(crate) async fn clock(url: &str) -> Result<DateTime<Utc>, DatabaseError> {
    let mut conn = PgServer::parse(url)?.connect().await?;
    let query = diesel::select(sql::<UtcTimestamp>("clock_timestamp()"));
    query.get_result(&mut conn).await.map_err(DatabaseError::failed)
}

/// Returns whether the server at `replica` is a replica of the one at `url`.
pub(crate) async fn is_replica(url: &str, replica: &str) -> Result<bool, DatabaseError> {
    let identity = async |url| {
        let server = PgServer::parse(url)?;
        check_server(&server).await?;
        let query = diesel::select(sql::<(sql_types::Bool, sql_types::BigInt)>(
            "pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system())",
        ));
        let row = query.get_result::<(bool, i64)>(&mut server.connect().await?).await;
        row.map_err(DatabaseError::failed)
    };
    let ((is_replica, replica_system), (_, system)) = (identity(replica).await?, identity(url).await?);
    Ok(is_replica && replica_system == system)
}

#[cfg(test)]
mod tests {
    use test_support::TestDatabase;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn holder_of_the_migration_lock_is_named() {
        let db = TestDatabase::postgres().await;
        let server = PgServer::parse(db.url()).unwrap();
        let (mut first, mut second) = (server.connect().await.unwrap(), server.connect().await.unwrap());
        lock_migrations(&mut first, "1s").await.unwrap();
        let refused = lock_migrations(&mut second, "10ms").await.unwrap_err().to_string();
        let holder: i32 = diesel::select(sql::<sql_types::Integer>("pg_backend_pid()"))
            .get_result(&mut first)
            .await
            .unwrap();
        assert!(refused.contains(&format!("process {holder} of user ")), "{refused}");
        drop(first);
        lock_migrations(&mut second, "20s").await.unwrap();
        migrate(db.url(), true).await.unwrap();
    }
}
