//! A connection: an authenticated client, from `connected` to its end.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use domain::{notifications::NotificationId, sessions::SessionId, users::UserId};
use serde::Serialize;
use socketioxide::{SendError, SocketError, extract::SocketRef, socket::Sid};
use tokio::time::{Instant, sleep};

use crate::{
    SocketCaller,
    events::{Change, names},
    transport::Transport,
};

/// How often a client that does not keep up is tried again.
const AGAIN: Duration = Duration::from_millis(10);

/// An authenticated client.
pub(crate) struct Connection {
    pub(crate) id: Sid,
    pub(crate) user: UserId,
    /// When it began, in milliseconds since 1970.
    pub(crate) began: i64,
    pub(crate) transport: Arc<Transport>,
    socket: SocketRef,
    state: Mutex<State>,
}

struct State {
    session: SessionId,
    expires_at: DateTime<Utc>,
    warned: bool,
    phase: Phase,
}

/// A connection that joins, or has fallen behind, is read for by itself; then it goes live and is read for together
/// with its user's others.
enum Phase {
    /// It gets what it does not have yet. Changes wait until it has.
    Joining {
        held: Vec<Change>,
        /// Whether a notification has come meanwhile.
        missed: bool,
    },
    /// It has every notification up to this one.
    Live(NotificationId),
}

/// Whether a client took something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    /// It is gone.
    Gone,
    /// Its queue is full.
    TooSlow,
}

impl Connection {
    pub(crate) fn new(socket: SocketRef, transport: Arc<Transport>, caller: &SocketCaller) -> Self {
        let phase = Phase::Joining { held: Vec::new(), missed: false };
        let state = State { session: caller.session, expires_at: caller.expires_at, warned: false, phase };
        let began = Utc::now().timestamp_millis();
        Self { id: socket.id, user: caller.user, began, transport, socket, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session(&self) -> SessionId {
        self.state().session
    }

    /// Lives by another token from now on.
    pub(crate) fn renew(&self, caller: &SocketCaller) {
        let mut state = self.state();
        (state.session, state.expires_at, state.warned) = (caller.session, caller.expires_at, false);
    }

    /// When its token expires, and whether that is news to the client: it is, once, from `warning` before.
    pub(crate) fn expiry(&self, now: DateTime<Utc>, warning: Duration) -> (DateTime<Utc>, bool) {
        let mut state = self.state();
        let is_soon = state.expires_at - now <= chrono::TimeDelta::from_std(warning).unwrap_or_default();
        let is_news = is_soon && !state.warned;
        state.warned |= is_soon;
        (state.expires_at, is_news)
    }

    /// Up to where it has all notifications; `None` while it joins, which takes note that there is another.
    pub(crate) fn cursor(&self) -> Option<NotificationId> {
        match &mut self.state().phase {
            Phase::Live(cursor) => Some(*cursor),
            Phase::Joining { missed, .. } => {
                *missed = true;
                None
            }
        }
    }

    /// Sends the notification `id`, unless the client has it.
    pub(crate) fn send_notification(
        &self,
        id: NotificationId,
        body: Option<&impl Serialize>,
    ) -> Option<Sent> {
        let mut state = self.state();
        let Phase::Live(cursor) = &mut state.phase else { return None };
        if id <= *cursor {
            return None;
        }
        let sent = body.map(|body| self.send(names::NEW_NOTIFICATION, body));
        if sent != Some(Sent::TooSlow) {
            *cursor = id;
        }
        sent
    }

    /// Sends a change, once the client has what it has missed.
    pub(crate) fn send_change(&self, change: &Change, limit: usize) -> Sent {
        let mut state = self.state();
        match &mut state.phase {
            Phase::Joining { held, .. } if held.len() >= limit => Sent::TooSlow,
            Phase::Joining { held, .. } => {
                held.push(change.clone());
                Sent::Yes
            }
            Phase::Live(_) => self.send_now(change),
        }
    }

    /// Takes a live connection out of step, to be followed by itself until it has caught up. Up to where it has all
    /// notifications; `None` if it is out of step already. `change` waits until then.
    pub(crate) fn fall_behind(&self, change: Option<&Change>) -> Option<NotificationId> {
        let mut state = self.state();
        let Phase::Live(cursor) = state.phase else { return None };
        state.phase = Phase::Joining { held: change.into_iter().cloned().collect(), missed: true };
        Some(cursor)
    }

    /// Goes live with all notifications up to `cursor`; whether another has come meanwhile. It does not while its
    /// queue has no room for the changes that waited.
    fn try_live(&self, cursor: NotificationId) -> (Sent, bool) {
        let mut state = self.state();
        let Phase::Joining { held, missed } = &mut state.phase else { return (Sent::Yes, false) };
        while let Some(change) = held.first() {
            match self.send_now(change) {
                Sent::Yes => drop(held.remove(0)),
                sent => return (sent, false),
            }
        }
        let missed = *missed;
        state.phase = Phase::Live(cursor);
        (Sent::Yes, missed)
    }

    /// Goes live, and waits for room for that.
    pub(crate) async fn go_live(&self, cursor: NotificationId, patience: Duration) -> (Sent, bool) {
        let mut missed = false;
        let sent = self
            .patiently(patience, || {
                let sent;
                (sent, missed) = self.try_live(cursor);
                sent
            })
            .await;
        (sent, missed)
    }

    fn send_now(&self, change: &Change) -> Sent {
        match change {
            Change::Read(read) => self.send(names::NOTIFICATION_READ, read),
            Change::Deleted(deleted) => self.send(names::NOTIFICATION_DELETED, deleted),
        }
    }

    /// Sends an event, unless its transport is to be closed: that may take a moment.
    pub(crate) fn send(&self, event: &str, body: &impl Serialize) -> Sent {
        if self.transport.closed.is_cancelled() {
            return Sent::Gone;
        }
        match self.socket.emit(event, body) {
            Ok(()) => Sent::Yes,
            Err(SendError::Socket(SocketError::InternalChannelFull)) => Sent::TooSlow,
            Err(SendError::Socket(SocketError::Closed)) => Sent::Gone,
            Err(error @ SendError::Serialize(_)) => {
                tracing::error!(%error, event, "an event cannot be serialized");
                Sent::Yes
            }
        }
    }

    /// Sends an event, and waits for room in the client's queue.
    pub(crate) async fn send_patiently(
        &self,
        event: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Sent {
        self.patiently(patience, || self.send(event, body)).await
    }

    async fn patiently(&self, patience: Duration, mut attempt: impl FnMut() -> Sent) -> Sent {
        let deadline = Instant::now() + patience;
        loop {
            match attempt() {
                Sent::TooSlow if Instant::now() < deadline => {
                    tokio::select! {
                        () = sleep(AGAIN) => {}
                        () = self.transport.closed.cancelled() => return Sent::Gone,
                    }
                }
                sent => return sent,
            }
        }
    }
}
