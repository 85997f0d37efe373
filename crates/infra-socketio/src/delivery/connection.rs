//! A connection: an authenticated client, from `connected` to its end.

use std::{
    collections::VecDeque,
    mem::replace,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Error,
    notifications::{NotificationId, NotificationView},
    sessions::{Caller, SessionId},
    users::UserId,
};
use serde::Serialize;
use socketioxide::{SendError, SocketError, extract::SocketRef, socket::Sid};
use tokio::time::{Instant, sleep};

use crate::{
    engine::{
        shared::Engine,
        transport::{Admission, Transport},
    },
    events::Change,
};

/// Delay before a packet is offered again to a client whose queue is full.
const QUEUE_RETRY_DELAY: Duration = Duration::from_millis(10);

/// An authenticated client.
pub(crate) struct Connection {
    pub(crate) id: Sid,
    pub(crate) user: UserId,
    /// When it was opened, in milliseconds since 1970.
    pub(crate) opened_at: i64,
    engine: Arc<Engine>,
    transport: Arc<Transport>,
    socket: SocketRef,
    state: Mutex<ConnectionState>,
}

struct ConnectionState {
    session: SessionId,
    expires_at: DateTime<Utc>,
    is_warned: bool,
    progress: Progress,
    /// What is still to be sent, in this order.
    queue: VecDeque<QueuedEvent>,
    /// Whether a task handles the queue.
    is_working: bool,
}

/// Which notifications a connection was offered.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    /// All up to this one were sent or deferred.
    pub(crate) cursor: NotificationId,
    /// Those above the first and up to the second were replayed, even deferred ones.
    pub(crate) replayed: (NotificationId, NotificationId),
}

/// What a connection has to send.
pub(crate) enum QueuedEvent {
    /// The first events, and the notifications above an id that the client knows.
    Welcome(Option<NotificationId>),
    /// New notifications: up to this one, or an unknown number.
    New(Option<NotificationId>),
    /// A notification was read or deleted.
    Change(Change),
    /// A deferred notification that is due.
    Due(NotificationView),
}

/// Why nothing more is sent to a client.
pub(crate) enum Failure {
    /// The client is gone.
    Closed,
    /// The client does not read fast enough.
    QueueFull,
    /// The database did not respond.
    Database(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl Progress {
    /// Returns whether a deferred notification must be sent when it is due: the client neither has it nor reads it later.
    fn lacks(self, id: NotificationId) -> bool {
        let (first, last) = self.replayed;
        id <= self.cursor && !(first < id && id <= last)
    }
}

impl Connection {
    /// Creates a connection whose queue begins with the welcome. A task must be started that handles it.
    pub(crate) fn new(
        engine: Arc<Engine>,
        socket: SocketRef,
        transport: Arc<Transport>,
        Admission { caller, since }: Admission,
        now: DateTime<Utc>,
    ) -> Self {
        let state = ConnectionState {
            session: caller.session,
            expires_at: caller.expires_at,
            is_warned: false,
            // During the welcome every notification that becomes due is queued. `begin` removes those that it read.
            progress: Progress {
                cursor: NotificationId(i64::MAX),
                replayed: (NotificationId(0), NotificationId(0)),
            },
            queue: VecDeque::from([QueuedEvent::Welcome(since)]),
            is_working: true,
        };
        let opened_at = now.timestamp_millis();
        let state = Mutex::new(state);
        Self { id: socket.id, user: caller.user, opened_at, engine, transport, socket, state }
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session(&self) -> SessionId {
        self.state().session
    }

    /// Replaces the token that the connection depends on.
    pub(crate) fn renew(&self, caller: &Caller) {
        let mut state = self.state();
        (state.session, state.expires_at, state.is_warned) = (caller.session, caller.expires_at, false);
    }

    /// Returns when the token expires, and whether the client should be warned now: once, from `warning` before.
    pub(crate) fn expiry(&self, now: DateTime<Utc>, warning: Duration) -> (DateTime<Utc>, bool) {
        let mut state = self.state();
        let is_soon = state.expires_at - now <= TimeDelta::from_std(warning).unwrap_or_default();
        let should_warn = is_soon && !state.is_warned;
        state.is_warned |= is_soon;
        (state.expires_at, should_warn)
    }

    /// Queues an event, or closes the transport if too many wait. Returns whether a task must be started that handles the
    /// queue.
    pub(crate) fn enqueue(&self, event: QueuedEvent) -> bool {
        let mut state = self.state();
        let is_full = state.queue.len() >= self.engine.config.max_queued_packets;
        match (event, state.queue.back_mut()) {
            // One read serves both.
            (QueuedEvent::New(id), Some(QueuedEvent::New(last))) => {
                *last = id.zip(*last).map(|(id, last)| id.max(last));
            }
            (event, _) if !is_full => state.queue.push_back(event),
            _ => self.fail(Failure::QueueFull),
        }
        !replace(&mut state.is_working, true)
    }

    /// Takes the next event from the queue. If there is none, the task that handles the queue ends.
    pub(crate) fn next_event(&self) -> Option<QueuedEvent> {
        let mut state = self.state();
        let event = state.queue.pop_front();
        state.is_working = event.is_some();
        event
    }

    /// Begins with new notifications after the welcome.
    pub(crate) fn begin(&self, progress: Progress) {
        let mut state = self.state();
        state.progress = progress;
        state.queue.retain(|event| !matches!(event, QueuedEvent::Due(row) if !progress.lacks(row.id)));
    }

    pub(crate) fn cursor(&self) -> NotificationId {
        self.state().progress.cursor
    }

    pub(crate) fn advance(&self, cursor: NotificationId) {
        self.state().progress.cursor = cursor;
    }

    /// Returns whether a deferred notification must be queued now that it is due.
    pub(crate) fn lacks(&self, id: NotificationId) -> bool {
        self.state().progress.lacks(id)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.transport.closed.is_cancelled()
    }

    /// Closes the transport so that the client may reconnect.
    pub(crate) fn close(&self) {
        self.engine.close(&self.transport);
    }

    /// Closes the transport, unless it is closing already.
    pub(crate) fn fail(&self, failure: Failure) {
        if self.is_closed() {
            return;
        }
        match failure {
            Failure::Closed => {}
            Failure::QueueFull => {
                tracing::info!(
                    user.id = self.user.0,
                    "closed the connection of a client that reads too slowly"
                );
                self.engine.counters().too_slow += 1;
            }
            Failure::Database(error) => {
                tracing::warn!(user.id = self.user.0, %error, "failed to read missed notifications");
            }
        }
        self.close();
    }

    /// Sends an event, unless the transport is closing, which may take a while.
    pub(crate) fn try_send(&self, event: &str, body: &impl Serialize) -> Result<(), Failure> {
        if self.is_closed() {
            return Err(Failure::Closed);
        }
        match self.socket.emit(event, body) {
            Ok(()) => Ok(()),
            Err(SendError::Socket(SocketError::InternalChannelFull)) => Err(Failure::QueueFull),
            Err(SendError::Socket(SocketError::Closed)) => Err(Failure::Closed),
            Err(error @ SendError::Serialize(_)) => {
                tracing::error!(%error, event, "failed to serialize an event");
                Ok(())
            }
        }
    }

    /// Sends an event, waiting for room in the client's queue of packets.
    pub(crate) async fn send(&self, event: &str, body: &impl Serialize) -> Result<(), Failure> {
        let deadline = Instant::now() + self.engine.config.send_timeout;
        loop {
            match self.try_send(event, body) {
                Err(Failure::QueueFull) if Instant::now() < deadline => {
                    tokio::select! {
                        () = sleep(QUEUE_RETRY_DELAY) => {}
                        () = self.transport.closed.cancelled() => return Err(Failure::Closed),
                    }
                }
                result => return result,
            }
        }
    }
}
