//! PostgreSQL: connections, pool and migrations.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use diesel::{ConnectionError, QueryResult, sql_types};
use diesel_async::{
    AsyncConnection as _, AsyncConnectionCore, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl,
    pooled_connection::deadpool::Object,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use domain::users::UserId;
use tokio_postgres::config::SslMode;

use crate::{DatabaseConfig, DatabaseError, PoolState, SchemaState, Seed, error::Fault};

pub(crate) type Backend = diesel::pg::Pg;
pub(crate) type Connection = AsyncPgConnection;
pub(crate) type Moment = diesel::sql_types::Timestamptz;

/// Runs a block as one transaction.
macro_rules! transaction {
    ($repositories:expr, |$tx:ident| $body:block) => {
        diesel_async::AsyncConnection::transaction(&mut *$repositories.writer().await?, async move |$tx| {
            $body
        })
        .await
    };
}

/// Runs a block whose statements are each committed by itself.
macro_rules! autocommit {
    ($repositories:expr, |$conn:ident| $body:block) => {{
        let mut pooled = $repositories.writer().await?;
        let $conn: &mut $crate::postgres::Connection = &mut pooled;
        let done: Result<_, $crate::error::Fault> = async move { $body }.await;
        done
    }};
}

/// Runs a block that finds something, for a viewer. It may be a little old: a replica may do it. What is not
/// there is looked for here.
macro_rules! read_for {
    ($repositories:expr, $viewer:expr, |$conn:ident| $body:block) => {{
        let read =
            async |$conn: &mut $crate::postgres::Shared<'_>| -> Result<Option<_>, $crate::error::Fault> {
                $body
            };
        let mut found = None;
        if let Some(replica) = &$repositories.replica
            && let Some(mut pooled) = replica.reader($viewer).await
        {
            found = replica.in_time(read(&mut pooled)).await;
        }
        match found {
            Some(found) => Ok(Some(found)),
            None => read(&mut $repositories.reader().await?).await,
        }
    }};
}

/// Locks the rows that a query finds until the transaction ends.
macro_rules! locked {
    () => {
        " FOR NO KEY UPDATE"
    };
}

/// The moment so many seconds after 1970.
macro_rules! moment {
    ($seconds:literal) => {
        concat!("to_timestamp(", $seconds, ")")
    };
}

/// Before every moment.
macro_rules! never {
    () => {
        "'-infinity'"
    };
}

#[path = "postgres/deeds.rs"]
mod deeds;
#[path = "postgres/groups.rs"]
mod groups;
#[path = "postgres/lanes.rs"]
mod lanes;
#[path = "postgres/many.rs"]
mod many;
#[path = "postgres/pools.rs"]
mod pools;
#[path = "postgres/replica.rs"]
mod replica;
#[path = "repositories/mod.rs"]
mod repositories;

pub(crate) use lanes::Shared;
use many::Many;
use pools::Pools;
use replica::Replica;
use repositories::{
    row::{Columns, Whole},
    statement::{Runs, Statement},
};

impl<C: AsyncConnectionCore<Backend = Backend> + Send> Runs for C {
    async fn rows<R: Columns + Send + 'static>(
        &mut self,
        statement: Statement,
    ) -> QueryResult<Vec<Whole<R>>> {
        RunQueryDsl::load(statement, self).await
    }

    async fn count(&mut self, statement: Statement) -> QueryResult<usize> {
        RunQueryDsl::execute(statement, self).await
    }
}

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
/// Held while migrating, so that two programs do not migrate at once. Any number that nobody else uses.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_lock(7303014201)";

/// The rows of a seed refer to each other by construction: where one may, checking each is left out.
const TRUST_THE_ROWS: &str = "SELECT set_config('session_replication_role', 'replica', true) FROM pg_roles
    WHERE rolname = current_user AND rolsuper";
/// For sorting what indexes are made of, and what is told in its order.
const MEMORY: &str =
    "SELECT set_config('maintenance_work_mem', '512MB', true), set_config('work_mem', '64MB', true)";
/// The rows of a seed have their numbers already; what comes later goes on from there.
const SET_SEQUENCES: &str =
    "SELECT setval(pg_get_serial_sequence('users', 'id'), (SELECT max(id) FROM users)),
    setval(pg_get_serial_sequence('posts', 'id'), (SELECT max(id) FROM posts)),
    setval(pg_get_serial_sequence('comments', 'id'), (SELECT max(id) FROM comments))";

/// Who counts posts into blocks does it alone, and sees one state of all rows: the lock comes before the snapshot.
const ONE_AT_A_TIME: &[&str] = &[
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "LOCK TABLE post_blocks IN SHARE ROW EXCLUSIVE MODE",
];
/// What is older can no longer change without a trace: see the triggers in `migrations/`, for which a post is new for
/// one minute. A transaction that has `posts` open may have stored something new just after it began; later ones store
/// nothing that is older than now. The other minutes are for a clock that is set back. No row where it cannot be told.
const SETTLED: &str = "SELECT least(statement_timestamp(), min(a.xact_start)) - interval '5 minutes' AS now
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.relation = 'posts'::regclass AND l.mode = 'RowExclusiveLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    HAVING coalesce(bool_and(l.pid IS NOT NULL
      AND (a.pid IS NULL OR a.xact_start IS NOT NULL OR coalesce(a.state = 'idle', false))), true)";

/// Before when posts no longer change without a trace; `None` if it cannot be told just now.
async fn settled<C: AsyncConnectionCore<Backend = Backend>>(
    conn: &mut C,
) -> Result<Option<DateTime<Utc>>, Fault> {
    let rows: Vec<ClockRow> = diesel::sql_query(SETTLED).load(conn).await?;
    Ok(rows.into_iter().next().map(|row| row.now))
}

/// The indexes that a seed fills: all but those that keep its rows apart or that other tables refer to.
const INDEXES: &str = "SELECT format('DROP INDEX %I', indexname) AS undo, indexdef AS redo FROM pg_indexes
    WHERE schemaname = current_schema() AND tablename IN ('posts', 'comments', 'likes', 'follows', 'notifications')
      AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname)
    UNION ALL SELECT 'ALTER TABLE notifications DROP CONSTRAINT notifications_pkey',
      'ALTER TABLE notifications ADD PRIMARY KEY (recipient_id, id)'";

/// Every repository.
pub(crate) struct Repositories {
    pools: Pools,
    replica: Option<Arc<Replica>>,
}

impl Repositories {
    async fn reader(&self) -> Result<Shared<'_>, Fault> {
        self.pools.read().await
    }

    async fn writer(&self) -> Result<Object<Connection>, Fault> {
        self.pools.get().await
    }

    /// Whether it is best asked where it is needed.
    pub(crate) fn is_local(&self) -> bool {
        self.pools.are_local()
    }

    /// Remembers that these users did something or were told of something: they read it from the primary.
    fn changed(&self, users: impl IntoIterator<Item = UserId>) {
        if let Some(replica) = &self.replica {
            replica.changed(users);
        }
    }

    /// Remembers that something was changed that nobody may see any more as it was.
    fn changed_for_all(&self) {
        if let Some(replica) = &self.replica {
            replica.changed_for_all();
        }
    }

    /// How the pools are.
    pub(crate) fn pools(&self) -> Vec<PoolState> {
        let primary = PoolState::of("all", &self.pools.status());
        std::iter::once(primary).chain(self.replica.as_ref().map(|replica| replica.pool())).collect()
    }
}

/// The pools; connections are opened when they are needed.
pub(crate) fn open(url: &str, config: &DatabaseConfig) -> Result<Repositories, DatabaseError> {
    let pools = Pools::new(url, config).map_err(other)?;
    let replica = config.replica.as_deref().map(|url| Pools::new(url, config)).transpose().map_err(other)?;
    let replica = replica.map(|replica| Replica::follow(replica, pools.clone()));
    Ok(Repositories { pools, replica })
}

/// Opens a connection: with `sslmode=require` by TLS whose certificate is verified, else in clear. What other clients
/// call `prefer`, TLS with anybody who answers, would only look safe.
async fn establish(url: &str, timeout: Option<Duration>) -> Result<Connection, ConnectionError> {
    let failed = |error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        ConnectionError::BadConnection(format!("{error}{cause}"))
    };
    let mut config: tokio_postgres::Config =
        url.parse().map_err(|error: tokio_postgres::Error| failed(&error))?;
    if config.get_ssl_mode() == SslMode::Prefer {
        config.ssl_mode(SslMode::Disable);
    }
    if let Some(timeout) = timeout {
        // A query that its caller gave up would go on for as long as it likes. None is worth starting processes for,
        // or compiling, though the planner may take one for large whose bounds it cannot know; nor is a plan for just
        // these values worth making, which it would make each time for a group of one or two.
        let most = timeout.as_millis();
        let options = format!(
            "-c statement_timeout={most} -c max_parallel_workers_per_gather=0 -c jit=off \
             -c plan_cache_mode=force_generic_plan"
        );
        config.options(options);
        // A server whose machine is gone acknowledges nothing, and says nothing either.
        config.connect_timeout(timeout).tcp_user_timeout(timeout).keepalives_idle(timeout);
        config.keepalives_interval(timeout).keepalives_retries(2);
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
    let (client, connection) = config.connect(tls).await.map_err(|error| failed(&error))?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

pub(crate) async fn migrate(url: &str, dry_run: bool) -> Result<Vec<String>, DatabaseError> {
    let mut conn = establish(url, None).await.map_err(other)?;
    // The lock goes with the connection.
    diesel::sql_query(MIGRATION_LOCK).execute(&mut conn).await.map_err(other)?;
    tokio::task::block_in_place(move || {
        let mut harness = AsyncMigrationHarness::new(conn);
        let applied = harness.applied_migrations().map_err(other)?;
        let applied = applied.iter().map(ToString::to_string).collect();
        let pending = SchemaState::compare::<Backend>(&MIGRATIONS, applied)?.pending();
        if !dry_run {
            harness.run_pending_migrations(MIGRATIONS).map_err(other)?;
        }
        Ok(pending)
    })
}

#[derive(diesel::QueryableByName)]
struct ClockRow {
    #[diesel(sql_type = Moment)]
    now: DateTime<Utc>,
}

pub(crate) async fn clock(url: &str) -> Result<DateTime<Utc>, DatabaseError> {
    let mut conn = establish(url, None).await.map_err(other)?;
    let query = diesel::sql_query("SELECT clock_timestamp() AS now");
    Ok(query.get_result::<ClockRow>(&mut conn).await.map_err(other)?.now)
}

#[derive(diesel::QueryableByName)]
struct ServerRow {
    #[diesel(sql_type = sql_types::Bool)]
    is_replica: bool,
    #[diesel(sql_type = sql_types::BigInt)]
    system: i64,
}

/// Whether the second server is a replica of the first.
pub(crate) async fn is_replica(url: &str, replica: &str) -> Result<bool, DatabaseError> {
    let server = async |url| {
        let mut conn = establish(url, None).await.map_err(other)?;
        let query =
            "SELECT pg_is_in_recovery() AS is_replica, system_identifier AS system FROM pg_control_system()";
        diesel::sql_query(query).get_result::<ServerRow>(&mut conn).await.map_err(other)
    };
    let (replica, primary) = (server(replica).await?, server(url).await?);
    Ok(replica.is_replica && replica.system == primary.system)
}

pub(crate) async fn schema_state(url: &str) -> Result<SchemaState, DatabaseError> {
    let mut conn = establish(url, None).await.map_err(other)?;
    let applied = repositories::applied_migrations(&mut conn).await.map_err(|fault| other(fault.0))?;
    SchemaState::compare::<Backend>(&MIGRATIONS, applied)
}

pub(crate) async fn seed(url: &str, seed: &Seed) -> Result<(), DatabaseError> {
    let mut conn = establish(url, None).await.map_err(other)?;
    let filled = conn.transaction(async |tx| {
        if !repositories::seed::is_new(tx).await? {
            return Ok(false);
        }
        diesel::sql_query(TRUST_THE_ROWS).execute(tx).await?;
        diesel::sql_query(MEMORY).execute(tx).await?;
        repositories::seed::fill(tx, seed).await?;
        diesel::sql_query(SET_SEQUENCES).execute(tx).await?;
        Ok(true)
    });
    if !filled.await.map_err(|fault: Fault| other(fault.0))? {
        return Err(DatabaseError::NotNew);
    }
    repositories::blocks::tend_all(&mut conn).await.map_err(|fault| other(fault.0))?;
    // As autovacuum would leave it; posts were written twice.
    for statement in ["VACUUM (FULL) posts", "VACUUM (ANALYZE)"] {
        diesel::sql_query(statement).execute(&mut conn).await.map_err(other)?;
    }
    Ok(())
}

fn other(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::Other(error.to_string())
}
