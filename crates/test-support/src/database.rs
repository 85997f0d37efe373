//! A database for one test, gone when the test ends.

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::postgres::{blocking, connect, postgres_url};

/// Prefix of database names, followed by the Unix time of their creation and a random number.
const PREFIX: &str = "social_test_";

/// Older test databases were left behind by a run that was killed.
const STALE_SECONDS: u64 = 2 * 60 * 60;

/// An empty database of its own for one test, dropped with this value, also when the test panics.
pub struct TestDatabase {
    url: String,
    kind: Kind,
}

enum Kind {
    Postgres { name: String },
    Sqlite { _folder: TempDir },
}

impl TestDatabase {
    /// Creates a database on the server that [`postgres_url`] finds, with asynchronous commits.
    ///
    /// # Panics
    /// If there is no server.
    pub async fn postgres() -> Self {
        Self::postgres_with("ENCODING 'UTF8'").await
    }

    /// Does the same with these options of `CREATE DATABASE`, such as the encoding or the locale.
    ///
    /// # Panics
    /// If there is no server, or if it refuses the options.
    pub async fn postgres_with(options: &str) -> Self {
        static STALE_ONES_ARE_GONE: OnceLock<()> = OnceLock::new();
        let server = postgres_url();
        let client = connect(server).await.expect("the PostgreSQL server that was found lets us in");
        let now = seconds_now();
        if STALE_ONES_ARE_GONE.set(()).is_ok() {
            drop_stale(&client, now).await;
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system has random numbers");
        let name = format!("{PREFIX}{now}_{:016x}", u64::from_le_bytes(random));
        // No client connects to template0, so it can be copied at any time, and it is empty.
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 {options}");
        client.batch_execute(&create).await.expect("a database for the test can be created");
        // Created before the next statement, which may fail, so that the database is dropped.
        let database = Self { url: with_database(server, &name), kind: Kind::Postgres { name } };
        let Kind::Postgres { name } = &database.kind else { unreachable!("it was made two lines above") };
        let alter = format!("ALTER DATABASE {name} SET synchronous_commit = off");
        client.batch_execute(&alter).await.expect("the test's own database can be altered");
        database
    }

    /// Returns the path of a new SQLite file, which does not exist yet, in a folder of its own.
    ///
    /// # Panics
    /// If no temporary folder can be made.
    #[expect(clippy::unused_async, reason = "`database_test` awaits every constructor")]
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("test.sqlite3");
        Self { url: format!("sqlite://{}", path.display()), kind: Kind::Sqlite { _folder: folder } }
    }

    /// Returns its URL, as in `DATABASE_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Kind::Postgres { name } = &self.kind else { return };
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        // Ignores errors: a server that is gone has no database, and a later run drops it once it is stale.
        blocking(async move { connect(postgres_url()).await?.batch_execute(&drop).await }).ok();
    }
}

/// Drops the databases that killed runs left behind, unless a client is connected.
async fn drop_stale(client: &Client, now: u64) {
    let rows = client.query("SELECT datname::text FROM pg_database", &[]).await.unwrap_or_default();
    for name in rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok()) {
        if created_at(&name).is_some_and(|then| then + STALE_SECONDS < now) {
            client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await.ok();
        }
    }
}

/// Returns the Unix time when a test database was created, or `None` for other names.
fn created_at(name: &str) -> Option<u64> {
    let (seconds, random) = name.strip_prefix(PREFIX)?.split_once('_')?;
    let is_ours = random.len() == 16
        && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && seconds.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { seconds.parse().ok() } else { None }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the address `server` with its database replaced by `name`.
fn with_database(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').map_or((server, None), |(a, o)| (a, Some(o)));
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address[start..].find('/').map_or(address.len(), |at| start + at);
    let options = options.map(|options| format!("?{options}")).unwrap_or_default();
    format!("{}/{name}{options}", &address[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database_test;

    #[database_test]
    async fn attribute_generates_a_test_for_each_database(db: TestDatabase) {
        assert!(db.url().starts_with("postgres://") || db.url().starts_with("sqlite://"));
    }

    #[database_test]
    async fn each_test_has_its_own_database(db: TestDatabase) {
        assert!(db.url().contains("test"));
    }

    #[database_test]
    async fn attribute_works_on_several_functions_of_a_module(_db: TestDatabase) {}

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres_databases_are_separate_and_dropped_with_their_values() {
        let (one, two) = (TestDatabase::postgres().await, TestDatabase::postgres().await);
        assert_ne!(one.url(), two.url());
        let client = connect(one.url()).await.unwrap();
        client.batch_execute("CREATE TABLE mark (id int)").await.unwrap();
        let commit: String = client.query_one("SHOW synchronous_commit", &[]).await.unwrap().get(0);
        assert_eq!(commit, "off");
        assert!(connect(two.url()).await.unwrap().batch_execute("SELECT FROM mark").await.is_err());

        let url = one.url().to_owned();
        drop(one); // although `client` is still connected
        assert!(connect(&url).await.is_err());
        assert!(connect(two.url()).await.is_ok());
    }

    #[tokio::test]
    async fn postgres_database_is_dropped_when_its_test_panics() {
        let database = TestDatabase::postgres().await;
        let url = database.url().to_owned();
        let test = tokio::spawn(async move {
            let _database = database;
            panic!("as a failed assertion does");
        });
        assert!(test.await.is_err());
        assert!(connect(&url).await.is_err());
    }

    #[tokio::test]
    async fn only_stale_test_databases_are_dropped() {
        let client = connect(postgres_url()).await.unwrap();
        let now = seconds_now();
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let random = u64::from_le_bytes(random);
        let stale = format!("{PREFIX}{}_{random:016x}", now - STALE_SECONDS - 1);
        let fresh = format!("{PREFIX}{}_{random:016x}", now - 60);
        let foreign = format!("{PREFIX}1_{random:016x}_by_hand");
        for name in [&stale, &fresh, &foreign] {
            client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await.unwrap();
        }

        drop_stale(&client, now).await;
        let pattern = format!("%{random:016x}%");
        let left = "SELECT datname::text FROM pg_database WHERE datname LIKE $1";
        let rows = client.query(left, &[&pattern]).await.unwrap();
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        for name in &names {
            client.batch_execute(&format!("DROP DATABASE {name}")).await.unwrap();
        }
        assert!(names.contains(&fresh) && names.contains(&foreign) && !names.contains(&stale), "{names:?}");
    }

    #[tokio::test]
    async fn sqlite_file_is_deleted_with_its_value() {
        let (one, two) = (TestDatabase::sqlite().await, TestDatabase::sqlite().await);
        assert_ne!(one.url(), two.url());
        let path = std::path::PathBuf::from(one.url().strip_prefix("sqlite://").unwrap());
        std::fs::write(&path, "").unwrap();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn database_name_in_the_url_is_replaced() {
        for (server, expected) in [
            ("postgres://postgres@127.0.0.1:5432", "postgres://postgres@127.0.0.1:5432/x"),
            ("postgres://u:p%2F@[::1]:5432/app?a=b/c", "postgres://u:p%2F@[::1]:5432/x?a=b/c"),
            ("postgresql://host/?sslmode=disable", "postgresql://host/x?sslmode=disable"),
        ] {
            assert_eq!(with_database(server, "x"), expected);
        }
    }
}
