//! The one writer: a thread that has the connection, and runs the writes in the order in which they come.
//!
//! What has come while a commit was being brought to disk shares the next one: a transaction of the group,
//! each write a savepoint in it. A write that fails is undone alone. Nobody hears of a write before the
//! commit of its group, and if that fails, everybody in it hears so. Whoever comes alone waits for nobody.

use std::{
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use diesel::{
    QueryResult, SqliteConnection,
    connection::SimpleConnection as _,
    result::{DatabaseErrorKind, Error as DieselError},
};
use domain::Error;
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::connect::open_writer;
use crate::{DatabaseError, PoolState, connection::Connection, error::DbError};

/// So many writes share a commit at most: the first one waits for the last.
const LARGEST_GROUP: usize = 128;

/// Takes what is to be written.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<State>,
    timeout: Duration,
}

/// What the metrics tell of it.
#[derive(Default)]
struct State {
    is_busy: AtomicBool,
    waiting: AtomicUsize,
}

/// A write and whoever waits for it.
trait Job: Send {
    /// Whether it is still wanted. If so, it will be answered, however long that takes.
    fn take(&self) -> bool;
    /// Runs it. Whether its changes are to stay.
    fn run(&mut self, conn: &mut SqliteConnection) -> bool;
    /// Tells what came of it, or of its group.
    fn answer(self: Box<Self>, group: Result<(), DbError>);
}

struct Write<F, R, E> {
    work: Option<F>,
    done: Option<Result<R, E>>,
    taken: Arc<AtomicBool>,
    caller: oneshot::Sender<Result<R, E>>,
}

impl<F, R, E> Job for Write<F, R, E>
where
    F: AsyncFnOnce(&mut Connection<'_>) -> Result<R, E> + Send,
    R: Send,
    E: From<DbError> + Send,
{
    fn take(&self) -> bool {
        !self.caller.is_closed() && !self.taken.swap(true, Ordering::AcqRel)
    }

    fn run(&mut self, conn: &mut SqliteConnection) -> bool {
        let error = |what: &str| Err(DbError(Error::internal(what)).into());
        self.done = self.work.take().map(|work| {
            // On this thread the connection answers at once.
            match catch_unwind(AssertUnwindSafe(|| work(&mut Connection::Sqlite(conn)).now_or_never())) {
                Ok(Some(done)) => done,
                Ok(None) => error("a write waited for something else than the database"),
                Err(_) => error("a write panicked"),
            }
        });
        matches!(self.done, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, group: Result<(), DbError>) {
        let done = match (group, self.done) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), Some(done)) => done,
            (Ok(()), None) => Err(DbError(Error::internal("a write was not run")).into()),
        };
        // Whoever has gone meanwhile hears nothing.
        let _ = self.caller.send(done);
    }
}

impl Writer {
    /// Opens the file, which makes it and its log if they are not there.
    pub(super) async fn start(path: &Path, timeout: Duration) -> Result<Self, DatabaseError> {
        let (jobs, queue) = mpsc::channel();
        let (opened, answer) = oneshot::channel();
        let state = Arc::new(State::default());
        let (path, shared) = (path.to_owned(), state.clone());
        let work = move || match open_writer(&path) {
            Ok(conn) => {
                let _ = opened.send(Ok(()));
                write_all(&path, conn, &queue, &shared);
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(work)
            .map_err(DatabaseError::other)?;
        answer.await.map_err(DatabaseError::other)?.map_err(DatabaseError::other)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), state, timeout })
    }

    /// Runs `work` as one transaction: on disk, or nothing of it. It may wait for nothing but the connection.
    ///
    /// Who gives up before it has begun prevents it; who gives up later does not learn what came of it.
    pub(crate) async fn run<F, R, E>(&self, work: F) -> Result<R, E>
    where
        F: AsyncFnOnce(&mut Connection<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (caller, mut answer) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        let write = Write { work: Some(work), done: None, taken: taken.clone(), caller };
        self.state.waiting.fetch_add(1, Ordering::Relaxed);
        // If the thread has ended, the answer is that there is none.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(Box::new(write)));
        let answered = match tokio::time::timeout(self.timeout, &mut answer).await {
            Ok(answered) => answered,
            Err(_) if !taken.swap(true, Ordering::AcqRel) => {
                return Err(DbError(Error::unavailable("the writer is busy")).into());
            }
            Err(_) => answer.await,
        };
        answered.unwrap_or_else(|_| Err(DbError(Error::unavailable("the writer has ended")).into()))
    }

    /// How it is, as a pool of one.
    pub(super) fn state(&self) -> PoolState {
        let idle = usize::from(!self.state.is_busy.load(Ordering::Relaxed));
        PoolState { name: "write", open: 1, idle, waiting: self.state.waiting.load(Ordering::Relaxed) }
    }
}

impl Drop for Writer {
    /// Waits until the file is closed: whoever comes next may lock it.
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs groups until nobody can send any more.
fn write_all(path: &Path, conn: SqliteConnection, queue: &mpsc::Receiver<Box<dyn Job>>, state: &State) {
    let mut conn = Some(conn);
    while let Ok(first) = queue.recv() {
        state.is_busy.store(true, Ordering::Relaxed);
        let jobs = iter::once(first).chain(queue.try_iter()).take(LARGEST_GROUP).filter(|job| {
            state.waiting.fetch_sub(1, Ordering::Relaxed);
            job.take()
        });
        let mut group = Vec::new();
        let done = write_group(path, &mut conn, jobs, &mut group).map_err(DbError::from);
        if done.is_err() {
            // Whatever it is in the middle of ends with it.
            conn = None;
        }
        state.is_busy.store(false, Ordering::Relaxed);
        for job in group {
            job.answer(done.as_ref().copied().map_err(DbError::again));
        }
    }
}

/// Runs jobs as savepoints of one transaction and commits it. `group` is then whom its end concerns.
fn write_group(
    path: &Path,
    conn: &mut Option<SqliteConnection>,
    jobs: impl Iterator<Item = Box<dyn Job>>,
    group: &mut Vec<Box<dyn Job>>,
) -> QueryResult<()> {
    for job in jobs {
        let is_first = group.is_empty();
        group.push(job);
        let conn = match conn {
            Some(conn) => conn,
            None => conn.insert(open_writer(path).map_err(|error| {
                DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(error.to_string()))
            })?),
        };
        if is_first {
            // Immediate: a transaction that reads first and writes then could not wait for another program's.
            conn.batch_execute("BEGIN IMMEDIATE")?;
        }
        conn.batch_execute("SAVEPOINT job")?;
        if group.last_mut().is_some_and(|job| job.run(conn)) {
            conn.batch_execute("RELEASE job")?;
        } else if conn.batch_execute("ROLLBACK TO job; RELEASE job").is_err() {
            // As on a full disk, its failure has undone the whole group: the others fail because of it.
            if let Some(job) = group.pop() {
                job.answer(Ok(()));
            }
            return Err(DieselError::BrokenTransactionManager);
        }
    }
    match conn {
        Some(conn) if !group.is_empty() => conn.batch_execute("COMMIT"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
