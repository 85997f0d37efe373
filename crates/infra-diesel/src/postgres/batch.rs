//! Batches concurrent writes of one kind into a single statement, which saves round trips and commits.
//!
//! A lone write is sent immediately; writes that arrive while a batch is in flight form the next one. So batches grow
//! as the database slows down.
//!
//! One write never affects the others of its batch. If the database rolls a batch back, its writes are retried: first
//! all that lock the same row together, then each by itself. A write whose row is locked by another transaction leaves
//! the batches after [`LockTimeout::Batch`] and waits in a queue for that row. If a connection is lost it is unknown
//! whether its batch was committed, so nothing is retried and every caller gets the error.
//!
//! A write expires unless it is sent in time: its client has got an error by then and may have sent the write again.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use diesel::{
    QueryResult,
    result::{DatabaseErrorKind, Error as DieselError},
};
use diesel_async::{AsyncPgConnection, pooled_connection::deadpool::Pool};
use domain::Error;
use futures_util::FutureExt as _;
use tokio::{
    sync::{Semaphore, oneshot},
    task::yield_now,
    time::{Duration, Instant, timeout, timeout_at},
};
use tokio_postgres::error::SqlState;

use super::sqlstate::sqlstate_of;
use crate::error::DbError;

/// Bounds how long the first write of a batch waits for the last.
const MAX_BATCH_SIZE: usize = 32;

/// Bounds the writes of one kind that wait. More would only fill the memory of a server whose database hangs.
const MAX_QUEUED: usize = 1024;

/// Bounds the batches of one kind that are in flight. The second one starts if the first takes longer than
/// [`SLOW_BATCH`].
const MAX_IN_FLIGHT: usize = 2;
const SLOW_BATCH: Duration = Duration::from_millis(20);

/// How often other tasks run before a batch is formed. In the first round the runtime reads requests that have just
/// arrived, in the second one their writes are submitted.
const YIELDS: usize = 2;

/// How often the writes to a locked row are tried while no connection is free to wait for it.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a statement waits for a locked row before the database rolls it back. Each statement sets it for its own
/// transaction (see `lock_timeout!`), which costs no round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockTimeout {
    /// For a batch. Longer than other transactions usually hold a lock, which is until their commit is on disk.
    Batch,
    /// For a part of a batch that was rolled back.
    Retry,
    /// For the connections that do nothing but wait. The timeout of statements still applies.
    Unlimited,
}

impl LockTimeout {
    /// The value of PostgreSQL's setting `lock_timeout`.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Batch => "20ms",
            Self::Retry => "1ms",
            Self::Unlimited => "0",
        }
    }
}

/// A kind of write that is executed in batches.
pub(crate) trait Batch: Send + Sync + 'static {
    /// One write.
    type Write: Send + Sync + 'static;
    /// The result of one write.
    type Output: Send + 'static;

    /// Returns the id of the row that most of the write's lock waits are about.
    fn locked_row(write: &Self::Write) -> i64;

    /// Executes all of the writes or, if it fails, none of them. Returns their results in the same order.
    fn execute(
        writes: &[Self::Write],
        lock_timeout: LockTimeout,
        conn: &mut AsyncPgConnection,
    ) -> impl Future<Output = QueryResult<Vec<Self::Output>>> + Send;
}

/// Batches the writes of one kind and one pool.
pub(crate) struct Batcher<B: Batch>(Arc<Shared<B>>);

struct Shared<B: Batch> {
    pool: Pool<AsyncPgConnection>,
    /// Bounds the connections that wait for locked rows, so that they never use up the pool.
    lock_waits: Arc<Semaphore>,
    /// How long a write may wait until it is sent. It expires then.
    timeout: Duration,
    state: Mutex<BatchState<B>>,
}

struct BatchState<B: Batch> {
    queue: VecDeque<Pending<B>>,
    in_flight: usize,
    /// Queues for rows that other transactions have locked.
    locked: HashMap<i64, VecDeque<Pending<B>>>,
}

/// A write whose caller waits for the result.
struct Pending<B: Batch> {
    write: B::Write,
    waiter: Waiter<B>,
}

struct Waiter<B: Batch> {
    reply: oneshot::Sender<Result<B::Output, DbError>>,
    expires_at: Instant,
}

impl<B: Batch> Batcher<B> {
    /// `lock_waits` bounds the connections of the pool that may wait for locked rows, `timeout` the time until a write is
    /// sent.
    pub(crate) fn new(pool: Pool<AsyncPgConnection>, lock_waits: Arc<Semaphore>, timeout: Duration) -> Self {
        let state = BatchState { queue: VecDeque::new(), in_flight: 0, locked: HashMap::new() };
        Self(Arc::new(Shared { pool, lock_waits, timeout, state: Mutex::new(state) }))
    }

    /// Returns how many writes wait for the batches before them or for locked rows.
    pub(crate) fn queued(&self) -> usize {
        self.0.state().queued()
    }

    /// Executes a write, together with others that are submitted at the same time.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if too many writes are queued, if the write expires, or if the connection was lost: then the
    /// write may have been committed or not.
    pub(crate) async fn submit(&self, write: B::Write) -> Result<B::Output, DbError> {
        let (reply, mut result) = oneshot::channel();
        let expires_at = Instant::now() + self.0.timeout;
        if self.0.enqueue(Pending { write, waiter: Waiter { reply, expires_at } })? {
            tokio::spawn(self.0.clone().execute_queue());
        }
        let mut received = timeout(SLOW_BATCH, &mut result).await;
        if received.is_err() {
            if self.0.needs_another_batch() {
                tokio::spawn(self.0.clone().execute_queue());
            }
            received = timeout_at(expires_at, &mut result).await;
        }
        let received = if let Ok(received) = received {
            received
        } else {
            self.0.state().drop_expired();
            // If the write was sent, the timeout of statements bounds this.
            result.await
        };
        received.unwrap_or_else(|_| {
            let is_expired = expires_at <= Instant::now();
            Err(if is_expired { expired() } else { Error::internal("a batch panicked").into() })
        })
    }
}

impl<B: Batch> Pending<B> {
    /// Returns whether the caller still waits for the result.
    fn is_awaited(&self) -> bool {
        !self.waiter.reply.is_closed() && Instant::now() < self.waiter.expires_at
    }
}

impl<B: Batch> BatchState<B> {
    fn queued(&self) -> usize {
        self.queue.len() + self.locked.values().map(VecDeque::len).sum::<usize>()
    }

    /// Drops queued writes that have expired. Their callers notice it.
    fn drop_expired(&mut self) {
        self.queue.retain(Pending::is_awaited);
        for queue in self.locked.values_mut() {
            queue.retain(Pending::is_awaited);
        }
    }
}

impl<B: Batch> Shared<B> {
    fn state(&self) -> MutexGuard<'_, BatchState<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a write. Returns whether the caller must spawn [`execute_queue`](Self::execute_queue).
    fn enqueue(&self, pending: Pending<B>) -> Result<bool, DbError> {
        let mut state = self.state();
        if state.queued() >= MAX_QUEUED {
            return Err(Error::overloaded().into());
        }
        state.queue.push_back(pending);
        let is_first = state.in_flight == 0;
        state.in_flight += usize::from(is_first);
        Ok(is_first)
    }

    /// Returns whether the caller must spawn another [`execute_queue`](Self::execute_queue) because the batch in flight is
    /// slow.
    fn needs_another_batch(&self) -> bool {
        let mut state = self.state();
        let is_needed = !state.queue.is_empty() && state.in_flight < MAX_IN_FLIGHT;
        state.in_flight += usize::from(is_needed);
        is_needed
    }

    /// Executes batches until the queue is empty. This is a task of its own, since it also serves callers other than the
    /// one that starts it.
    async fn execute_queue(self: Arc<Self>) {
        loop {
            for _ in 0..YIELDS {
                yield_now().await;
            }
            let Some(batch) = self.next_batch() else { return };
            self.execute(batch, LockTimeout::Batch).await;
        }
    }

    /// Takes the next batch from the queue. If there is none, the calling task counts as finished.
    fn next_batch(&self) -> Option<Vec<Pending<B>>> {
        let mut state = self.state();
        let BatchState { queue, in_flight, locked } = &mut *state;
        let mut batch = Vec::with_capacity(queue.len().min(MAX_BATCH_SIZE));
        while batch.len() < MAX_BATCH_SIZE
            && let Some(pending) = queue.pop_front()
        {
            match locked.get_mut(&B::locked_row(&pending.write)) {
                Some(waiting) => waiting.push_back(pending),
                None => batch.push(pending),
            }
        }
        if batch.is_empty() {
            *in_flight -= 1;
            return None;
        }
        Some(batch)
    }

    /// Queues writes whose row another transaction has locked.
    fn wait_for_row(self: &Arc<Self>, row: i64, batch: Vec<Pending<B>>) {
        match self.state().locked.entry(row) {
            Entry::Occupied(mut queue) => queue.get_mut().extend(batch),
            Entry::Vacant(queue) => {
                queue.insert(batch.into());
                tokio::spawn(self.clone().execute_queue_of(row));
            }
        }
    }

    /// Executes the writes to a locked row until there are none.
    async fn execute_queue_of(self: Arc<Self>, row: i64) {
        loop {
            let permit = timeout(POLL_INTERVAL, self.lock_waits.acquire()).await;
            let Some(batch) = self.next_batch_of(row) else { return };
            let may_wait = matches!(permit, Ok(Ok(_)));
            self.execute(batch, if may_wait { LockTimeout::Unlimited } else { LockTimeout::Retry }).await;
        }
    }

    /// Takes the next batch of writes to a locked row. If there is none, the row no longer counts as locked.
    fn next_batch_of(&self, row: i64) -> Option<Vec<Pending<B>>> {
        let mut state = self.state();
        let waiting = state.locked.get_mut(&row)?;
        let count = waiting.len().min(MAX_BATCH_SIZE);
        if count == 0 {
            state.locked.remove(&row);
            return None;
        }
        Some(waiting.drain(..count).collect())
    }

    /// Executes a batch and replies to its callers. Parts are retried on the same connection or, by
    /// [`wait_for_row`](Self::wait_for_row), on another one. Neither commits a write twice: a part is retried only after
    /// the server has reported its rollback.
    async fn execute(self: &Arc<Self>, batch: Vec<Pending<B>>, mut lock_timeout: LockTimeout) {
        let Some(last_expiry) = batch.iter().map(|pending| pending.waiter.expires_at).max() else { return };
        let mut conn = match timeout_at(last_expiry, self.pool.get()).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(error)) => return fail(batch, &error.into()),
            Err(_) => return fail(batch, &expired()),
        };
        let mut parts = vec![batch];
        while let Some(mut batch) = parts.pop() {
            // The connection and the parts before this one took time.
            batch.retain(Pending::is_awaited);
            if batch.is_empty() {
                continue;
            }
            let (writes, waiters): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|pending| (pending.write, pending.waiter)).unzip();
            // A panic drops the senders, which the callers notice.
            let execution = AssertUnwindSafe(B::execute(&writes, lock_timeout, &mut conn)).catch_unwind();
            match execution.await {
                Ok(Ok(outputs)) => {
                    for (waiter, output) in waiters.into_iter().zip(outputs) {
                        // The caller may have gone.
                        let _ = waiter.reply.send(Ok(output));
                    }
                }
                Ok(Err(error)) => {
                    let batch = writes.into_iter().zip(waiters);
                    let batch = batch.map(|(write, waiter)| Pending { write, waiter }).collect();
                    parts.extend(self.parts_to_retry(batch, error, lock_timeout).into_iter().rev());
                }
                Err(_) => return,
            }
            if lock_timeout == LockTimeout::Batch {
                lock_timeout = LockTimeout::Retry;
            }
        }
    }

    /// Returns the parts of a failed batch that are to be executed by themselves. The other callers have got the error or
    /// wait for a locked row.
    fn parts_to_retry(
        self: &Arc<Self>,
        batch: Vec<Pending<B>>,
        error: DieselError,
        lock_timeout: LockTimeout,
    ) -> Vec<Vec<Pending<B>>> {
        let is_rolled_back = is_rolled_back(&error);
        let is_locked = lock_timeout != LockTimeout::Unlimited && is_locked(&error);
        let error = DbError::from(error);
        let (batch, failed) = batch.into_iter().partition(|one| is_rolled_back && one.is_awaited());
        fail(failed, &error);
        let mut parts = by_row(batch);
        if parts.len() == 1
            && let Some((row, batch)) = parts.pop()
        {
            if is_locked {
                self.wait_for_row(row, batch);
            } else if batch.len() == 1 {
                fail(batch, &error);
            } else {
                return batch.into_iter().map(|one| vec![one]).collect();
            }
        }
        parts.into_iter().map(|(_, batch)| batch).collect()
    }
}

/// Groups writes by the row that they lock.
fn by_row<B: Batch>(batch: Vec<Pending<B>>) -> Vec<(i64, Vec<Pending<B>>)> {
    let mut groups: Vec<(i64, Vec<Pending<B>>)> = Vec::new();
    for pending in batch {
        let row = B::locked_row(&pending.write);
        match groups.iter_mut().find(|(of, _)| *of == row) {
            Some((_, group)) => group.push(pending),
            None => groups.push((row, vec![pending])),
        }
    }
    groups
}

fn fail<B: Batch>(batch: Vec<Pending<B>>, error: &DbError) {
    for pending in batch {
        let _ = pending.waiter.reply.send(Err(error.duplicate()));
    }
}

/// Returns the error of a write that was not sent in time.
fn expired() -> DbError {
    Error::unavailable("the write waited too long").into()
}

/// Returns whether the database certainly kept none of the writes. It says so unless the connection was lost.
fn is_rolled_back(error: &DieselError) -> bool {
    use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
    match error {
        DieselError::DatabaseError(kind, _) => !matches!(kind, ClosedConnection | UnableToSendCommand),
        // A value could not be sent.
        DieselError::SerializationError(_) => true,
        _ => false,
    }
}

/// Returns whether the statement waited too long for a lock, or in a circle.
fn is_locked(error: &DieselError) -> bool {
    let DieselError::DatabaseError(_, information) = error else { return false };
    let state = sqlstate_of(information.message());
    state
        .is_some_and(|state| [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(&state))
}
