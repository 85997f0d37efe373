//! A database of its own for each test, gone when the test ends.

use std::{
    path::PathBuf,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_postgres::NoTls;

/// What the names of our databases on a PostgreSQL server begin with; nothing else is ever touched.
const PREFIX: &str = "social_test_";
/// Databases of ours that are older than this were left behind by a killed run.
const STALE_SECONDS: u64 = 2 * 60 * 60;

/// An empty database that lives as long as this value.
pub struct TestDatabase {
    url: String,
    kind: Kind,
}

enum Kind {
    Postgres { name: String },
    Sqlite { _folder: tempfile::TempDir },
}

impl TestDatabase {
    /// A new database on the PostgreSQL server that [`postgres_server`] finds.
    ///
    /// # Panics
    /// If there is no server.
    pub async fn postgres() -> Self {
        static STALE: OnceLock<()> = OnceLock::new();
        let server = postgres_server();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let client = connect(server).await.expect("the PostgreSQL server that was found answers");
        if STALE.set(()).is_ok() {
            drop_stale(&client, now).await;
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system has random numbers");
        let name = format!("{PREFIX}{now}_{:016x}", u64::from_le_bytes(random));
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database for the test");
        client
            .batch_execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off"))
            .await
            .expect("the test's own database can be altered");
        Self { url: format!("{}/{name}", server.trim_end_matches('/')), kind: Kind::Postgres { name } }
    }

    /// A new SQLite file in a folder of its own.
    ///
    /// # Panics
    /// If no folder can be made.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path: PathBuf = folder.path().join("test.sqlite3");
        Self { url: format!("sqlite://{}", path.display()), kind: Kind::Sqlite { _folder: folder } }
    }

    /// Its address, as `DATABASE_URL` takes it.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Kind::Postgres { name } = &self.kind else { return };
        let name = name.clone();
        // The test's own runtime may be stopping, or be the one that runs this.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                if let Ok(client) = connect(postgres_server()).await {
                    // A server that is gone takes the database with it.
                    client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.ok();
                }
            });
            std::io::Result::Ok(())
        });
        dropping.join().ok();
    }
}

/// The PostgreSQL server for tests, without a database: `TEST_DATABASE_URL`, else one on the default local port.
///
/// # Panics
/// If there is none, with a sentence that says what to do.
pub fn postgres_server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| {
        if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
            return url;
        }
        let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
        let candidates = ["postgres", &user].map(|user| format!("postgres://{user}@127.0.0.1:5432"));
        candidates.into_iter().find(|url| answers(url)).unwrap_or_else(|| {
            panic!(
                "no PostgreSQL for the tests: start one on 127.0.0.1:5432 that lets the user postgres in, or set \
                 TEST_DATABASE_URL to postgres://user:password@host:port of one on which databases may be created"
            )
        })
    })
}

fn answers(url: &str) -> bool {
    let url = url.to_owned();
    let trying = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::io::Result::Ok(runtime.block_on(connect(&url)).is_ok())
    });
    matches!(trying.join(), Ok(Ok(true)))
}

async fn connect(server: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config: tokio_postgres::Config = server.parse()?;
    if config.get_dbname().is_none() {
        config.dbname("postgres");
    }
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn drop_stale(client: &tokio_postgres::Client, now: u64) {
    let names =
        client.query("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", &[&PREFIX]).await;
    for row in names.unwrap_or_default() {
        let name: String = row.get(0);
        let made: Option<u64> =
            name[PREFIX.len()..].split('_').next().and_then(|seconds| seconds.parse().ok());
        if made.is_some_and(|made| made + STALE_SECONDS < now) {
            client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await.ok();
        }
    }
}

/// Makes two tests of each function: one on PostgreSQL, one on SQLite.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($db:ident: TestDatabase) $body:block)*) => {
        $($(#[$attribute])* mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($db: $crate::TestDatabase) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run($crate::TestDatabase::postgres().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run($crate::TestDatabase::sqlite()).await;
            }
        })*
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_database_is_new_and_goes_with_its_value() {
        let (one, two) = (TestDatabase::postgres().await, TestDatabase::postgres().await);
        assert_ne!(one.url(), two.url());
        let client = connect(one.url()).await.unwrap();
        client.batch_execute("CREATE TABLE mark (id int)").await.unwrap();
        assert!(connect(two.url()).await.unwrap().batch_execute("SELECT * FROM mark").await.is_err());
        let gone = one.url().to_owned();
        drop(one);
        assert!(connect(&gone).await.is_err());
    }

    #[test]
    fn a_sqlite_file_goes_with_its_value() {
        let database = TestDatabase::sqlite();
        let path = PathBuf::from(database.url().trim_start_matches("sqlite://"));
        std::fs::write(&path, "").unwrap();
        drop(database);
        assert!(!path.exists());
    }
}
