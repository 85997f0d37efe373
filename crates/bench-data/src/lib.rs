//! Fills a new database with a made-up network, for measuring. A development tool: the server does not need it.

mod statements;

use domain::passwords::PasswordHash;
use infra_diesel::{DatabaseError, DatabaseUrl, ToolConnection};

use statements::{Statements, indexes};

/// The size of a network. The same numbers make the same rows on both databases.
pub struct Seed {
    /// Users: `user1`, `user2`, …, with addresses at example.com.
    pub users: i64,
    /// Posts, of which every twentieth is private.
    pub posts: i64,
    /// Likes. A pair that comes up twice counts once, so there are a few less.
    pub likes: i64,
    /// Comments.
    pub comments: i64,
    /// Follows. A few less, as for likes.
    pub follows: i64,
    /// Seed of the numbers that look random.
    pub seed: u32,
    /// The password of every user.
    pub password: PasswordHash,
}

/// Why a database was not filled.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database has users.
    #[error("it has users already; only a new database can be seeded")]
    NotNew,
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Superusers skip the checks of foreign keys: the rows refer to each other by construction.
const SKIP_CHECKS: &str = "SELECT set_config('session_replication_role', 'replica', true) FROM pg_roles
    WHERE rolname = current_user AND rolsuper";
/// Memory for building indexes and for sorting.
const USE_MEMORY: &str =
    "SELECT set_config('maintenance_work_mem', '512MB', true), set_config('work_mem', '64MB', true)";
/// The rows bring their ids; later rows continue from there.
const SET_SEQUENCES: &str =
    "SELECT setval(pg_get_serial_sequence('users', 'id'), (SELECT max(id) FROM users)),
    setval(pg_get_serial_sequence('posts', 'id'), (SELECT max(id) FROM posts)),
    setval(pg_get_serial_sequence('comments', 'id'), (SELECT max(id) FROM comments))";
/// What autovacuum would do. Posts were written twice.
const VACUUM: [&str; 2] = ["VACUUM (FULL) posts", "VACUUM (ANALYZE)"];
/// More cache than a server needs, and no foreign keys: the rows refer to each other by construction.
const SQLITE_PRAGMAS: &str = "PRAGMA foreign_keys = OFF; PRAGMA cache_size = -256000;";

/// Fills a migrated database that has no users. All rows are committed together.
///
/// # Errors
///
/// [`SeedError::NotNew`] if the database has users, otherwise the error of the database.
pub async fn seed(url: &DatabaseUrl, seed: &Seed) -> Result<(), SeedError> {
    let mut conn = ToolConnection::open(url).await?;
    if !conn.is_postgres() {
        conn.execute(SQLITE_PRAGMAS).await?;
    }
    conn.execute("BEGIN").await?;
    if !conn.query("SELECT username AS value FROM users LIMIT 1").await?.is_empty() {
        return Err(SeedError::NotNew);
    }
    if conn.is_postgres() {
        conn.execute(SKIP_CHECKS).await?;
        conn.execute(USE_MEMORY).await?;
    }
    fill(&mut conn, seed).await?;
    if conn.is_postgres() {
        conn.execute(SET_SEQUENCES).await?;
    }
    conn.execute("COMMIT").await?;
    drop(conn);
    if let DatabaseUrl::Postgres(_) = url {
        let mut conn = ToolConnection::open(url).await?;
        for statement in VACUUM {
            conn.execute(statement).await?;
        }
    }
    Ok(())
}

async fn fill(conn: &mut ToolConnection, seed: &Seed) -> Result<(), DatabaseError> {
    let statements = Statements { seed, is_postgres: conn.is_postgres() };
    conn.execute(&statements.users()).await?;
    // Rows first: to insert millions into an index one by one takes several times as long as to build it from them.
    let (drops, creates) = indexes(conn.is_postgres());
    let (drops, creates) = (conn.query(drops).await?, conn.query(creates).await?);
    for statement in &drops {
        conn.execute(statement).await?;
    }
    for statement in statements.activity() {
        conn.execute(&statement).await?;
    }
    for statement in &creates {
        conn.execute(statement).await?;
    }
    Ok(())
}
