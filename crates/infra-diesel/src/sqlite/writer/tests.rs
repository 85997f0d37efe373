#![allow(clippy::unwrap_used)]

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _};
use domain::Error;
use futures_util::future::join_all;
use test_support::TestDatabase;
use tokio::task::JoinHandle;

use super::{MAX_QUEUED, Writer};
use crate::{connection::Connection, error::DbError};

/// A new file with a writer.
struct Scene {
    writer: Arc<Writer>,
    path: PathBuf,
    _db: TestDatabase,
}

const TABLES: &str = "
    CREATE TABLE written (number INTEGER PRIMARY KEY CHECK (number < 1000));
    CREATE TABLE deferred (number INTEGER REFERENCES written DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE full (number INTEGER);
    CREATE TRIGGER full BEFORE INSERT ON full BEGIN SELECT raise(ROLLBACK, 'database or disk is full'); END";

async fn scene(timeout: Duration) -> Scene {
    let db = TestDatabase::sqlite().await;
    let path = PathBuf::from(db.url().strip_prefix("sqlite://").unwrap());
    let writer = Arc::new(Writer::start(&path, timeout).await.unwrap());
    writer.run(sql(TABLES)).await.unwrap();
    Scene { writer, path, _db: db }
}

async fn scene_without_timeout() -> Scene {
    scene(Duration::from_mins(10)).await
}

fn sql(
    text: impl Into<String>,
) -> impl AsyncFnOnce(&mut Connection<'_>) -> Result<(), DbError> + Send + 'static {
    let text = text.into();
    async move |conn: &mut Connection<'_>| {
        let Connection::Sqlite(conn) = conn else { unreachable!() };
        Ok(conn.batch_execute(&text)?)
    }
}

fn insert(number: i32) -> impl AsyncFnOnce(&mut Connection<'_>) -> Result<(), DbError> + Send + 'static {
    sql(format!("INSERT INTO written VALUES ({number})"))
}

/// A write that is being executed until [`end`](Self::end), so that others queue.
struct Held {
    write: JoinHandle<Result<(), DbError>>,
    end: mpsc::Sender<()>,
}

impl Held {
    async fn end(self) -> Result<(), DbError> {
        drop(self.end);
        self.write.await.unwrap()
    }
}

impl Scene {
    /// Keeps the writer busy with a write of this number.
    async fn hold(&self, number: i32) -> Held {
        let (end, ended) = mpsc::channel();
        let (started, is_started) = tokio::sync::oneshot::channel();
        let writer = self.writer.clone();
        let write = tokio::spawn(async move {
            let work = async move |conn: &mut Connection<'_>| {
                insert(number)(conn).await?;
                let _ = (started.send(()), ended.recv());
                Ok(())
            };
            writer.run(work).await
        });
        is_started.await.unwrap();
        Held { write, end }
    }

    /// Waits until this many writes are queued.
    async fn wait_for_queued(&self, count: usize) {
        while self.writer.state().waiting != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Executes the statements in this order, in one batch with a write of 0. Returns the results of that and of these.
    async fn execute_together(&self, writes: &[&str]) -> (Result<(), DbError>, Vec<Result<(), DbError>>) {
        let held = self.hold(0).await;
        let all = join_all(writes.iter().map(|text| self.writer.run(sql(*text))));
        let release = async {
            self.wait_for_queued(writes.len()).await;
            held.end().await
        };
        let (results, first) = tokio::join!(all, release);
        (first, results)
    }

    /// Returns the numbers that another connection sees.
    fn written(&self) -> Vec<i32> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Integer)]
            number: i32,
        }
        let mut conn = SqliteConnection::establish(self.path.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 20000").unwrap();
        let rows: Vec<Row> =
            diesel::sql_query("SELECT number FROM written ORDER BY number").load(&mut conn).unwrap();
        rows.into_iter().map(|row| row.number).collect()
    }

    /// Returns the number of commits in the write-ahead log: of the frames that contain the size of the database.
    fn commits(&self) -> usize {
        let log = std::fs::read(format!("{}-wal", self.path.display())).unwrap();
        let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
        let frame = 24 + usize::try_from(number(8)).unwrap();
        (32..log.len()).step_by(frame).filter(|at| number(at + 4) > 0).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_writes_share_one_commit_and_a_lone_write_has_its_own() {
    let scene = scene_without_timeout().await;
    let before = scene.commits();
    let held = scene.hold(0).await;
    let writes = (1..=50).map(|number| {
        let writer = scene.writer.clone();
        tokio::spawn(async move { writer.run(insert(number)).await })
    });
    let writes: Vec<_> = writes.collect();
    scene.wait_for_queued(50).await;
    assert_eq!(scene.written(), [0; 0], "nothing is visible before the commit");
    assert!(writes.iter().all(|write| !write.is_finished()), "nothing is acknowledged before the commit");
    held.end().await.unwrap();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(scene.written(), (0..=50).collect::<Vec<_>>());
    assert_eq!(scene.commits() - before, 1);
    scene.writer.run(insert(51)).await.unwrap();
    scene.writer.run(insert(52)).await.unwrap();
    assert_eq!(scene.commits() - before, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_that_fails_is_undone_alone() {
    let scene = scene_without_timeout().await;
    let fails = "INSERT INTO written VALUES (10); INSERT INTO written VALUES (1000)";
    let (first, results) = scene
        .execute_together(&["INSERT INTO written VALUES (1)", fails, "INSERT INTO written VALUES (2)"])
        .await;
    first.unwrap();
    assert!(results[0].is_ok() && results[2].is_ok());
    let Err(DbError(Error::Internal(cause))) = &results[1] else { panic!("{results:?}") };
    assert!(cause.to_string().contains("CHECK constraint failed"), "{cause}");
    assert_eq!(scene.written(), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_that_panics_or_waits_is_undone_alone() {
    let scene = scene_without_timeout().await;
    let held = scene.hold(0).await;
    let panics = scene.writer.run(async |conn: &mut Connection<'_>| -> Result<(), DbError> {
        insert(10)(conn).await?;
        panic!("this panic is part of the test");
    });
    let waits = scene.writer.run(async |conn: &mut Connection<'_>| -> Result<(), DbError> {
        insert(11)(conn).await?;
        std::future::pending().await
    });
    let release = async {
        scene.wait_for_queued(3).await;
        held.end().await
    };
    let (panicked, waited, fine, held) = tokio::join!(panics, waits, scene.writer.run(insert(1)), release);
    assert!(matches!(panicked, Err(DbError(Error::Internal(_)))));
    assert!(matches!(waited, Err(DbError(Error::Internal(_)))));
    fine.and(held).unwrap();
    scene.writer.run(insert(2)).await.unwrap();
    assert_eq!(scene.written(), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_that_fails_fails_all_of_its_writes() {
    let scene = scene_without_timeout().await;
    let (first, results) = scene
        .execute_together(&["INSERT INTO written VALUES (1)", "INSERT INTO deferred VALUES (999)"])
        .await;
    assert!(first.is_err());
    for result in results {
        let Err(DbError(Error::Internal(cause))) = result else { panic!("{result:?}") };
        assert!(cause.to_string().contains("FOREIGN KEY constraint failed"), "{cause}");
    }
    assert_eq!(scene.written(), [0; 0]);
    scene.writer.run(insert(2)).await.unwrap();
    assert_eq!(scene.written(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_that_undoes_the_transaction_fails_the_batch_up_to_it() {
    let scene = scene_without_timeout().await;
    let (first, results) = scene
        .execute_together(&[
            "INSERT INTO written VALUES (1)",
            "INSERT INTO full VALUES (1)",
            "INSERT INTO written VALUES (2)",
        ])
        .await;
    assert!(matches!(first, Err(DbError(Error::Unavailable(..)))));
    assert!(matches!(results[0], Err(DbError(Error::Unavailable(..)))));
    let Err(DbError(error)) = &results[1] else { panic!("{results:?}") };
    assert_eq!(error, &Error::STORAGE_FULL);
    assert!(results[2].is_ok());
    assert_eq!(scene.written(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_that_gives_up_prevents_a_write_that_has_not_begun() {
    let scene = scene_without_timeout().await;
    let held = scene.hold(0).await;
    let writes: Vec<_> = (1..=4)
        .map(|number| {
            let writer = scene.writer.clone();
            tokio::spawn(async move { writer.run(insert(number)).await })
        })
        .collect();
    scene.wait_for_queued(4).await;
    for (number, write) in (1..).zip(writes) {
        if number <= 2 {
            write.abort();
            assert!(write.await.unwrap_err().is_cancelled());
        }
    }
    held.end().await.unwrap();
    // The queued ones come before it.
    scene.writer.run(insert(5)).await.unwrap();
    assert_eq!(scene.written(), [0, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_that_gives_up_later_leaves_the_write_whole() {
    let scene = scene_without_timeout().await;
    let held = scene.hold(0).await;
    held.write.abort();
    assert!(held.write.await.unwrap_err().is_cancelled());
    drop(held.end);
    scene.writer.run(insert(1)).await.unwrap();
    assert_eq!(scene.written(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_that_waits_too_long_is_refused_unless_it_has_begun() {
    let scene = scene(Duration::from_millis(100)).await;
    let held = scene.hold(0).await;
    let refused = scene.writer.run(insert(1)).await;
    assert!(matches!(refused, Err(DbError(Error::Unavailable(..)))), "{refused:?}");
    held.end().await.unwrap();
    assert_eq!(scene.written(), [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_queue_refuses_further_writes_at_once() {
    let scene = scene_without_timeout().await;
    let held = scene.hold(0).await;
    let ignored = || scene.writer.run(sql("INSERT INTO written VALUES (1) ON CONFLICT DO NOTHING"));
    let queued = join_all((0..MAX_QUEUED).map(|_| ignored()));
    let refused = async {
        scene.wait_for_queued(MAX_QUEUED).await;
        let refused = scene.writer.run(insert(2)).await;
        assert_eq!(scene.writer.state().waiting, MAX_QUEUED);
        held.end().await.unwrap();
        refused
    };
    let (queued, refused) = tokio::join!(queued, refused);
    assert_eq!(refused.unwrap_err().0, Error::overloaded());
    assert!(queued.iter().all(Result::is_ok));
    assert_eq!(scene.written(), [0, 1]);
}

/// The caller's own timer may be late, and the writer may have to wait for another program first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_that_expires_while_another_program_writes_is_not_executed() {
    let scene = scene(Duration::from_millis(300)).await;
    let mut other = SqliteConnection::establish(scene.path.to_str().unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout = 20000; BEGIN IMMEDIATE").unwrap();
    let refused = scene.writer.run(insert(1)).await;
    assert!(matches!(refused, Err(DbError(Error::Unavailable(..)))), "{refused:?}");
    other.batch_execute("COMMIT").unwrap();
    let executed = loop {
        match scene.writer.run(insert(2)).await {
            Err(DbError(Error::Unavailable(..))) => {} // the writer has not noticed yet that it may write
            executed => break executed,
        }
    };
    executed.unwrap();
    assert_eq!(scene.written(), [2]);
}
