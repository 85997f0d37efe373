//! The one writer: a thread that owns the connection and executes writes in the order of their arrival.
//!
//! Writes that arrive while a commit is being brought to disk share the next one: they are savepoints of one
//! transaction, so a write that fails is undone alone. No caller gets a result before the commit, and if the commit
//! fails, all of its writes fail. A lone write is executed immediately.
//!
//! As on PostgreSQL, a write expires unless its execution begins in time: its client has got an error by then and may have
//! sent the write again.

use std::{
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, TrySendError},
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
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{connect::open_writer, reserve::DiskReserve};
use crate::{
    config::PoolState,
    connection::Connection,
    error::{DatabaseError, DbError},
};

/// Bounds how long the first write of a commit waits for the last.
const MAX_BATCH_SIZE: usize = 128;

/// Bounds the writes that wait. More would expire on a slow disk before their turn comes.
const MAX_QUEUED: usize = 4096;

/// The sending end of the writer's queue.
pub(crate) struct Writer {
    queue: Option<mpsc::SyncSender<Box<dyn Write>>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<WriterState>,
    /// How long a write may wait until its execution begins. It expires then.
    timeout: Duration,
}

/// What the metrics show.
#[derive(Default)]
struct WriterState {
    is_busy: AtomicBool,
    queued: AtomicUsize,
}

/// A write and its caller.
trait Write: Send {
    /// Claims the write for execution. Returns false if it has expired or its caller has given up.
    fn claim(&self) -> bool;
    /// Returns whether it is executed on a full disk, too.
    fn is_essential(&self) -> bool;
    /// Executes it. Returns whether its changes are to be kept.
    fn execute(&mut self, conn: &mut SqliteConnection) -> bool;
    /// Sends the caller its result, or the error of the batch.
    fn reply(self: Box<Self>, batch: Result<(), DbError>);
}

/// Which writes are executed while the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Importance {
    /// Those that end sessions, change passwords, or delete.
    Essential,
    /// The others are refused.
    Ordinary,
}

struct PendingWrite<F, R, E> {
    importance: Importance,
    work: Option<F>,
    result: Option<Result<R, E>>,
    is_claimed: Arc<AtomicBool>,
    expires_at: Instant,
    caller: oneshot::Sender<Result<R, E>>,
}

impl<F, R, E> Write for PendingWrite<F, R, E>
where
    F: AsyncFnOnce(&mut Connection<'_>) -> Result<R, E> + Send,
    R: Send,
    E: From<DbError> + Send,
{
    fn claim(&self) -> bool {
        let is_awaited = !self.caller.is_closed() && Instant::now() < self.expires_at;
        is_awaited && !self.is_claimed.swap(true, Ordering::AcqRel)
    }

    fn is_essential(&self) -> bool {
        self.importance == Importance::Essential
    }

    fn execute(&mut self, conn: &mut SqliteConnection) -> bool {
        let internal = |message: &str| Err(DbError(Error::internal(message)).into());
        self.result = self.work.take().map(|work| {
            // On this thread the connection never has to wait.
            match catch_unwind(AssertUnwindSafe(|| work(&mut Connection::Sqlite(conn)).now_or_never())) {
                Ok(Some(result)) => result,
                Ok(None) => internal("a write waited for something other than the database"),
                Err(_) => internal("a write panicked"),
            }
        });
        matches!(self.result, Some(Ok(_)))
    }

    fn reply(self: Box<Self>, batch: Result<(), DbError>) {
        let result = match (batch, self.result) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(DbError(Error::internal("a write was not executed")).into()),
        };
        // The caller may have gone.
        let _ = self.caller.send(result);
    }
}

impl Writer {
    /// Opens the file and starts the thread. Creates the file and its log if they do not exist.
    pub(super) async fn start(path: &Path, timeout: Duration) -> Result<Self, DatabaseError> {
        let (sender, queue) = mpsc::sync_channel(MAX_QUEUED);
        let (opened, is_open) = oneshot::channel();
        let state = Arc::new(WriterState::default());
        let (path, shared) = (path.to_owned(), state.clone());
        let work = move || match open_writer(&path) {
            Ok(conn) => {
                let _ = opened.send(Ok(()));
                execute_all(&path, conn, &queue, &shared);
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread = std::thread::Builder::new().name("sqlite-writer".to_owned()).spawn(work);
        let thread = thread.map_err(DatabaseError::other)?;
        is_open.await.map_err(DatabaseError::other)?.map_err(DatabaseError::other)?;
        Ok(Self { queue: Some(sender), thread: Some(thread), state, timeout })
    }

    /// Executes `work` as one transaction and returns after its commit. It may wait for nothing but the connection.
    ///
    /// A caller that gives up before the execution begins prevents it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if too many writes are queued, or if this one expires; [`Error::STORAGE_FULL`].
    pub(crate) async fn run<F, R, E>(&self, work: F) -> Result<R, E>
    where
        F: AsyncFnOnce(&mut Connection<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run_as(Importance::Ordinary, work).await
    }

    /// As [`run`](Self::run), with another importance.
    pub(crate) async fn run_as<F, R, E>(&self, importance: Importance, work: F) -> Result<R, E>
    where
        F: AsyncFnOnce(&mut Connection<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (caller, mut result) = oneshot::channel();
        let (is_claimed, expires_at) = (Arc::new(AtomicBool::new(false)), Instant::now() + self.timeout);
        let write = PendingWrite {
            importance,
            work: Some(work),
            result: None,
            is_claimed: is_claimed.clone(),
            expires_at,
            caller,
        };
        self.state.queued.fetch_add(1, Ordering::Relaxed);
        // If the thread has ended, so has the channel of the result.
        let queued = self.queue.as_ref().map(|queue| queue.try_send(Box::new(write)));
        if let Some(Err(TrySendError::Full(_))) = queued {
            self.state.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(DbError(Error::overloaded()).into());
        }
        let received = match timeout_at(expires_at, &mut result).await {
            Ok(received) => received,
            Err(_) if !is_claimed.swap(true, Ordering::AcqRel) => return Err(expired().into()),
            Err(_) => result.await,
        };
        received.unwrap_or_else(|_| Err(expired().into()))
    }

    /// Returns the state of the writer as that of a pool with one connection.
    pub(super) fn state(&self) -> PoolState {
        let idle = usize::from(!self.state.is_busy.load(Ordering::Relaxed));
        PoolState { name: "write", open: 1, idle, waiting: self.state.queued.load(Ordering::Relaxed) }
    }
}

impl Drop for Writer {
    /// Waits until the file is closed, so that it can be locked again.
    fn drop(&mut self) {
        drop(self.queue.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Returns the error of a write that was not executed in time, or at all because the thread has ended.
fn expired() -> DbError {
    DbError(Error::unavailable("the write waited too long"))
}

/// Executes batches until all senders are gone.
fn execute_all(
    path: &Path,
    conn: SqliteConnection,
    queue: &mpsc::Receiver<Box<dyn Write>>,
    state: &WriterState,
) {
    let (mut conn, mut reserve) = (Some(conn), DiskReserve::new(path));
    while let Ok(first) = queue.recv() {
        state.is_busy.store(true, Ordering::Relaxed);
        let has_space = reserve.has_space();
        let writes = iter::once(first).chain(queue.try_iter()).take(MAX_BATCH_SIZE);
        let writes = writes.filter_map(|write| {
            state.queued.fetch_sub(1, Ordering::Relaxed);
            if !write.claim() {
                return None;
            }
            if !has_space {
                if !write.is_essential() {
                    write.reply(Err(DbError(Error::STORAGE_FULL)));
                    return None;
                }
                reserve.release();
            }
            Some(write)
        });
        let mut batch = Vec::new();
        let result = execute_batch(path, &mut conn, writes, &mut batch).map_err(DbError::from);
        if result.is_err() {
            // Closing the connection ends its transaction.
            conn = None;
        }
        state.is_busy.store(false, Ordering::Relaxed);
        for write in batch {
            write.reply(result.as_ref().copied().map_err(DbError::duplicate));
        }
    }
}

/// Executes writes as savepoints of one transaction and commits it. Collects in `batch` the writes that share its
/// result.
fn execute_batch(
    path: &Path,
    conn: &mut Option<SqliteConnection>,
    writes: impl Iterator<Item = Box<dyn Write>>,
    batch: &mut Vec<Box<dyn Write>>,
) -> QueryResult<()> {
    let conn = match begin(path, conn) {
        Ok(conn) => conn,
        Err(error) => {
            batch.extend(writes);
            return Err(error);
        }
    };
    // Claimed only now: to wait for another program takes time, in which writes expire.
    for write in writes {
        batch.push(write);
        conn.batch_execute("SAVEPOINT one_write")?;
        if batch.last_mut().is_some_and(|write| write.execute(conn)) {
            conn.batch_execute("RELEASE one_write")?;
        } else if conn.batch_execute("ROLLBACK TO one_write; RELEASE one_write").is_err() {
            // The failure has undone the whole transaction, as a full disk does: the other writes fail because of it.
            if let Some(write) = batch.pop() {
                write.reply(Ok(()));
            }
            return Err(DieselError::BrokenTransactionManager);
        }
    }
    conn.batch_execute("COMMIT")
}

/// Begins a transaction, on a new connection if there is none. One that reads first and writes later could not wait for
/// that of another program.
fn begin<'a>(path: &Path, conn: &'a mut Option<SqliteConnection>) -> QueryResult<&'a mut SqliteConnection> {
    let conn = match conn {
        Some(conn) => conn,
        None => conn.insert(open_writer(path).map_err(|error| {
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(error.to_string()))
        })?),
    };
    conn.batch_execute("BEGIN IMMEDIATE")?;
    Ok(conn)
}

#[cfg(test)]
mod tests;
