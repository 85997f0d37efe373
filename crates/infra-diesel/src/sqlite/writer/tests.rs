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

use super::Writer;
use crate::{connection::Connection, error::DbError};

/// A new file with a writer, and what it has written as others see it.
struct Scene {
    writer: Arc<Writer>,
    path: PathBuf,
    _db: TestDatabase,
}

const TABLES: &str = "
    CREATE TABLE written (number INTEGER PRIMARY KEY CHECK (number < 1000));
    CREATE TABLE owed (number INTEGER REFERENCES written DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE full (number INTEGER);
    CREATE TRIGGER full BEFORE INSERT ON full BEGIN SELECT raise(ROLLBACK, 'database or disk is full'); END";

async fn scene(timeout: Duration) -> Scene {
    let db = TestDatabase::sqlite().await;
    let path = PathBuf::from(db.url().strip_prefix("sqlite://").unwrap());
    let writer = Arc::new(Writer::start(&path, timeout).await.unwrap());
    writer.run(sql(TABLES)).await.unwrap();
    Scene { writer, path, _db: db }
}

async fn patient() -> Scene {
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

/// A write that has begun and goes on until its answer is asked for, so that others wait.
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
    /// Holds the writer in the middle of a write of this number.
    async fn hold(&self, number: i32) -> Held {
        let (end, ended) = mpsc::channel();
        let (begins, begun) = tokio::sync::oneshot::channel();
        let writer = self.writer.clone();
        let write = tokio::spawn(async move {
            let work = async move |conn: &mut Connection<'_>| {
                insert(number)(conn).await?;
                let _ = (begins.send(()), ended.recv());
                Ok(())
            };
            writer.run(work).await
        });
        begun.await.unwrap();
        Held { write, end }
    }

    /// Waits until so many writes wait.
    async fn waiting(&self, count: usize) {
        while self.writer.state().waiting != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Writes the statements in this order, in one group with that of 0; the answers to that and to these.
    async fn together(&self, writes: &[&str]) -> (Result<(), DbError>, Vec<Result<(), DbError>>) {
        let held = self.hold(0).await;
        let all = join_all(writes.iter().map(|text| self.writer.run(sql(*text))));
        let release = async {
            self.waiting(writes.len()).await;
            held.end().await
        };
        let (answers, first) = tokio::join!(all, release);
        (first, answers)
    }

    /// The numbers that another connection sees.
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

    /// How many commits the write-ahead log has: the frames that say how large the database is after them.
    fn commits(&self) -> usize {
        let log = std::fs::read(format!("{}-wal", self.path.display())).unwrap();
        let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
        let frame = 24 + usize::try_from(number(8)).unwrap();
        (32..log.len()).step_by(frame).filter(|at| number(at + 4) > 0).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_share_one_commit_and_a_lone_one_has_its_own() {
    let scene = patient().await;
    let before = scene.commits();
    let held = scene.hold(0).await;
    let writes = (1..=50).map(|number| {
        let writer = scene.writer.clone();
        tokio::spawn(async move { writer.run(insert(number)).await })
    });
    let writes: Vec<_> = writes.collect();
    scene.waiting(50).await;
    assert_eq!(scene.written(), [0; 0], "nothing is seen before the commit");
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
async fn a_write_that_fails_is_undone_alone() {
    let scene = patient().await;
    let fails = "INSERT INTO written VALUES (10); INSERT INTO written VALUES (1000)";
    let (first, answers) =
        scene.together(&["INSERT INTO written VALUES (1)", fails, "INSERT INTO written VALUES (2)"]).await;
    first.unwrap();
    assert!(answers[0].is_ok() && answers[2].is_ok());
    let Err(DbError(Error::Internal(why))) = &answers[1] else { panic!("{answers:?}") };
    assert!(why.to_string().contains("CHECK constraint failed"), "{why}");
    assert_eq!(scene.written(), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_panics_or_waits_is_undone_alone() {
    let scene = patient().await;
    let held = scene.hold(0).await;
    let panics = scene.writer.run(async |conn: &mut Connection<'_>| -> Result<(), DbError> {
        insert(10)(conn).await?;
        panic!("as it should");
    });
    let waits = scene.writer.run(async |conn: &mut Connection<'_>| -> Result<(), DbError> {
        insert(11)(conn).await?;
        std::future::pending().await
    });
    let release = async {
        scene.waiting(3).await;
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
async fn a_commit_that_fails_fails_all_of_its_group() {
    let scene = patient().await;
    let (first, answers) =
        scene.together(&["INSERT INTO written VALUES (1)", "INSERT INTO owed VALUES (999)"]).await;
    assert!(first.is_err());
    for answer in answers {
        let Err(DbError(Error::Internal(why))) = answer else { panic!("{answer:?}") };
        assert!(why.to_string().contains("FOREIGN KEY constraint failed"), "{why}");
    }
    assert_eq!(scene.written(), [0; 0]);
    scene.writer.run(insert(2)).await.unwrap();
    assert_eq!(scene.written(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_undoes_the_whole_group_fails_all_of_it_and_nobody_after_it() {
    let scene = patient().await;
    let (first, answers) = scene
        .together(&[
            "INSERT INTO written VALUES (1)",
            "INSERT INTO full VALUES (1)",
            "INSERT INTO written VALUES (2)",
        ])
        .await;
    assert!(matches!(first, Err(DbError(Error::Unavailable(..)))));
    assert!(matches!(answers[0], Err(DbError(Error::Unavailable(..)))));
    let Err(DbError(why)) = &answers[1] else { panic!("{answers:?}") };
    assert_eq!(why, &Error::STORAGE_FULL);
    assert!(answers[2].is_ok());
    assert_eq!(scene.written(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_prevents_what_has_not_begun() {
    let scene = patient().await;
    let held = scene.hold(0).await;
    let writes: Vec<_> = (1..=4)
        .map(|number| {
            let writer = scene.writer.clone();
            tokio::spawn(async move { writer.run(insert(number)).await })
        })
        .collect();
    scene.waiting(4).await;
    for (number, write) in (1..).zip(writes) {
        if number <= 2 {
            write.abort();
            assert!(write.await.unwrap_err().is_cancelled());
        }
    }
    held.end().await.unwrap();
    // Those who wait come before it.
    scene.writer.run(insert(5)).await.unwrap();
    assert_eq!(scene.written(), [0, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_later_leaves_the_whole_write() {
    let scene = patient().await;
    let held = scene.hold(0).await;
    held.write.abort();
    assert!(held.write.await.unwrap_err().is_cancelled());
    drop(held.end);
    scene.writer.run(insert(1)).await.unwrap();
    assert_eq!(scene.written(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_waited_too_long_is_refused_unless_it_has_begun() {
    let scene = scene(Duration::from_millis(100)).await;
    let held = scene.hold(0).await;
    let refused = scene.writer.run(insert(1)).await;
    assert!(matches!(refused, Err(DbError(Error::Unavailable(..)))), "{refused:?}");
    held.end().await.unwrap();
    assert_eq!(scene.written(), [0]);
}
