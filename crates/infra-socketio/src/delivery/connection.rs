//! A connection: an authenticated client, from `connected` to its end.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    notifications::{NotificationId, NotificationView},
    sessions::{Caller, SessionId},
    users::UserId,
};
use serde::Serialize;
use socketioxide::{SendError, SocketError, extract::SocketRef, socket::Sid};
use tokio::time::{Instant, sleep};

use crate::{
    engine::transport::Transport,
    events::{Change, NewNotification, names},
};

/// Delay before a packet is offered again to a client whose queue is full.
const QUEUE_RETRY_DELAY: Duration = Duration::from_millis(10);

/// An authenticated client.
pub(crate) struct Connection {
    pub(crate) id: Sid,
    pub(crate) user: UserId,
    /// When it was opened, in milliseconds since 1970.
    pub(crate) opened_at: i64,
    pub(crate) transport: Arc<Transport>,
    socket: SocketRef,
    state: Mutex<ConnectionState>,
}

struct ConnectionState {
    session: SessionId,
    expires_at: DateTime<Utc>,
    is_warned: bool,
    replayed: ReplayedRange,
    phase: Phase,
}

/// The ids that a replay covered: above the first, up to the second.
#[derive(Clone, Copy)]
pub(crate) struct ReplayedRange(pub(crate) NotificationId, pub(crate) NotificationId);

impl ReplayedRange {
    pub(crate) const NONE: Self = Self(NotificationId(0), NotificationId(0));

    fn contains(self, id: NotificationId) -> bool {
        self.0 < id && id <= self.1
    }
}

/// A connection that joins or has fallen behind reads for itself. Once it has caught up it is live, and its user's
/// channel reads for all live connections together.
enum Phase {
    CatchingUp {
        /// Events that wait until it is live.
        held: Vec<HeldEvent>,
        /// Whether the channel handled a new notification meanwhile.
        has_missed: bool,
        /// The last notification that it read by itself after falling behind; `None` while it joins.
        position: Option<NotificationId>,
    },
    /// It was offered every notification up to this one.
    Live(NotificationId),
}

/// An event that waits until its connection is live.
pub(crate) enum HeldEvent {
    Change(Change),
    Deferred(NotificationView),
}

/// Result of queueing an event for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    Queued,
    /// The client is gone.
    Closed,
    QueueFull,
}

impl Connection {
    pub(crate) fn new(
        socket: SocketRef,
        transport: Arc<Transport>,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Self {
        let state = ConnectionState {
            session: caller.session,
            expires_at: caller.expires_at,
            is_warned: false,
            replayed: ReplayedRange::NONE,
            phase: Phase::CatchingUp { held: Vec::new(), has_missed: false, position: None },
        };
        let opened_at = now.timestamp_millis();
        Self { id: socket.id, user: caller.user, opened_at, transport, socket, state: Mutex::new(state) }
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

    /// Returns the last notification that a live connection was offered. A connection that is catching up returns `None`
    /// and remembers that there is more.
    pub(crate) fn cursor(&self) -> Option<NotificationId> {
        match &mut self.state().phase {
            Phase::Live(cursor) => Some(*cursor),
            Phase::CatchingUp { has_missed, .. } => {
                *has_missed = true;
                None
            }
        }
    }

    /// Offers a notification to a live connection: sends `body`, or skips the notification if it is deferred. `None` if
    /// nothing was sent.
    pub(crate) fn offer(&self, id: NotificationId, body: Option<&NewNotification>) -> Option<SendOutcome> {
        let mut state = self.state();
        let Phase::Live(cursor) = &mut state.phase else { return None };
        if id <= *cursor {
            return None;
        }
        let outcome = body.map(|body| self.send(names::NEW_NOTIFICATION, body));
        if outcome != Some(SendOutcome::QueueFull) {
            *cursor = id;
        }
        outcome
    }

    /// Sends a deferred notification that is due, out of the order of ids. `None` if the client has it, or reads it
    /// later by itself.
    pub(crate) fn send_deferred(&self, notification: &NotificationView, limit: usize) -> Option<SendOutcome> {
        let mut state = self.state();
        let (id, replayed) = (notification.id, state.replayed);
        match &mut state.phase {
            Phase::Live(cursor) if id > *cursor || replayed.contains(id) => None,
            Phase::Live(_) => {
                Some(self.send(names::NEW_NOTIFICATION, &NewNotification::new(notification.clone(), false)))
            }
            Phase::CatchingUp { position: Some(position), .. } if id > *position => None,
            Phase::CatchingUp { held, .. } if held.len() >= limit => Some(SendOutcome::QueueFull),
            Phase::CatchingUp { held, .. } => {
                held.push(HeldEvent::Deferred(notification.clone()));
                Some(SendOutcome::Queued)
            }
        }
    }

    /// Sends a change, or holds it until the client has the notifications before it.
    pub(crate) fn send_change(&self, change: &Change, limit: usize) -> SendOutcome {
        let mut state = self.state();
        match &mut state.phase {
            Phase::CatchingUp { held, .. } if held.len() >= limit => SendOutcome::QueueFull,
            Phase::CatchingUp { held, .. } => {
                held.push(HeldEvent::Change(change.clone()));
                SendOutcome::Queued
            }
            Phase::Live(_) => self.send_change_now(change),
        }
    }

    /// Makes a live connection catch up by itself, and returns the last notification that it was offered. `event` waits
    /// until it is live again. `None` if it is catching up already.
    pub(crate) fn fall_behind(&self, event: Option<HeldEvent>) -> Option<NotificationId> {
        let mut state = self.state();
        let Phase::Live(cursor) = state.phase else { return None };
        let held = event.into_iter().collect();
        state.phase = Phase::CatchingUp { held, has_missed: true, position: Some(cursor) };
        Some(cursor)
    }

    /// Records that a connection that fell behind reads this notification by itself. Call it before the throttle decides:
    /// if the notification becomes due meanwhile, it is held instead of lost.
    pub(crate) fn advance(&self, id: NotificationId) {
        if let Phase::CatchingUp { position, .. } = &mut self.state().phase {
            *position = Some(id);
        }
    }

    /// Returns whether a deferred notification waits until the connection is live.
    pub(crate) fn is_held(&self, id: NotificationId) -> bool {
        let Phase::CatchingUp { held, .. } = &self.state().phase else { return false };
        held.iter().any(|event| matches!(event, HeldEvent::Deferred(notification) if notification.id == id))
    }

    /// Makes the connection live if the held events fit into its queue. Returns whether notifications were missed.
    fn try_go_live(&self, cursor: NotificationId) -> (SendOutcome, bool) {
        let mut state = self.state();
        let replayed = state.replayed;
        let Phase::CatchingUp { held, has_missed, .. } = &mut state.phase else {
            return (SendOutcome::Queued, false);
        };
        while let Some(event) = held.first() {
            let outcome = match event {
                HeldEvent::Change(change) => self.send_change_now(change),
                HeldEvent::Deferred(row) if row.id > cursor || replayed.contains(row.id) => {
                    SendOutcome::Queued
                }
                HeldEvent::Deferred(row) => {
                    self.send(names::NEW_NOTIFICATION, &NewNotification::new(row.clone(), false))
                }
            };
            match outcome {
                SendOutcome::Queued => drop(held.remove(0)),
                outcome => return (outcome, false),
            }
        }
        let has_missed = *has_missed;
        state.phase = Phase::Live(cursor);
        (SendOutcome::Queued, has_missed)
    }

    /// Makes the connection live, waiting for room in its queue. Returns whether notifications were missed.
    pub(crate) async fn go_live(&self, cursor: NotificationId, timeout: Duration) -> (SendOutcome, bool) {
        let mut has_missed = false;
        let attempt = || {
            let outcome;
            (outcome, has_missed) = self.try_go_live(cursor);
            outcome
        };
        let outcome = self.retry_while_full(timeout, attempt).await;
        (outcome, has_missed)
    }

    /// Records what a replay covered, so that none of it is sent again.
    pub(crate) fn record_replay(&self, range: ReplayedRange) {
        self.state().replayed = range;
    }

    fn send_change_now(&self, change: &Change) -> SendOutcome {
        match change {
            Change::Read(read) => self.send(names::NOTIFICATION_READ, read),
            Change::Deleted(deleted) => self.send(names::NOTIFICATION_DELETED, deleted),
        }
    }

    /// Queues an event for the client, unless its transport is closing, which may take a while.
    pub(crate) fn send(&self, event: &str, body: &impl Serialize) -> SendOutcome {
        if self.transport.closed.is_cancelled() {
            return SendOutcome::Closed;
        }
        match self.socket.emit(event, body) {
            Ok(()) => SendOutcome::Queued,
            Err(SendError::Socket(SocketError::InternalChannelFull)) => SendOutcome::QueueFull,
            Err(SendError::Socket(SocketError::Closed)) => SendOutcome::Closed,
            Err(error @ SendError::Serialize(_)) => {
                tracing::error!(%error, event, "failed to serialize an event");
                SendOutcome::Queued
            }
        }
    }

    /// Queues an event, waiting for room in the client's queue.
    pub(crate) async fn send_when_ready(
        &self,
        event: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> SendOutcome {
        self.retry_while_full(timeout, || self.send(event, body)).await
    }

    async fn retry_while_full(
        &self,
        timeout: Duration,
        mut attempt: impl FnMut() -> SendOutcome,
    ) -> SendOutcome {
        let deadline = Instant::now() + timeout;
        loop {
            match attempt() {
                SendOutcome::QueueFull if Instant::now() < deadline => {
                    tokio::select! {
                        () = sleep(QUEUE_RETRY_DELAY) => {}
                        () = self.transport.closed.cancelled() => return SendOutcome::Closed,
                    }
                }
                outcome => return outcome,
            }
        }
    }
}
