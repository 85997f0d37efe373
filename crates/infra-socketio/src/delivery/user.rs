//! A user's channel: the connections of a user, and the order in which they receive events.
//!
//! Nothing is lost, repeated or reordered, because a signal only says that something changed: what is sent is read from
//! the database, above what was sent last. The id of a notification is assigned under a lock on its recipient's row, so
//! among those of one recipient a larger id was committed later: a connection that has read up to an id has everything
//! below it. A client that connects with `since` is served by the same reads.
//!
//! The exception is a deferred notification (see [`LiveThrottle`]): connections skip it, and receive it out of order when
//! it is due. The channel outlives its last connection by one interval, so that clients that reconnect receive it too,
//! even if they pass a larger id as `since`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{
    live_throttle::{Decision, LiveThrottle},
    notifications::{NotificationId, NotificationView},
    users::UserId,
};
use socketioxide::socket::Sid;
use tokio::time::sleep_until;

use crate::{
    delivery::{
        connection::{Connection, HeldEvent, SendOutcome},
        context::DeliveryContext,
        signal::Signal,
    },
    events::{NewNotification, names},
};

/// Maximum number of notifications read at once.
const MAX_READ: usize = 200;

/// Maximum number of signals that wait while the database does not respond. New notifications are merged into one.
const MAX_WAITING_SIGNALS: usize = 256;

/// The connections of a user.
pub(crate) struct UserChannel {
    pub(crate) user: UserId,
    /// How long the channel outlives its last connection.
    interval: Duration,
    state: Mutex<ChannelState>,
}

struct ChannelState {
    connections: Vec<Arc<Connection>>,
    waiting: VecDeque<Signal>,
    /// Whether a task handles the waiting signals.
    is_working: bool,
    throttle: LiveThrottle,
    emptied_at: Instant,
}

/// Returns the time of Tokio's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl UserChannel {
    pub(crate) fn new(user: UserId, interval: Duration) -> Arc<Self> {
        let state = ChannelState {
            connections: Vec::new(),
            waiting: VecDeque::new(),
            is_working: false,
            throttle: LiveThrottle::new(interval),
            emptied_at: now(),
        };
        Arc::new(Self { user, interval, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection.
    pub(crate) fn join(&self, connection: Arc<Connection>) {
        self.state().connections.push(connection);
    }

    /// Removes a connection, and returns whether it was the last one.
    pub(crate) fn leave(&self, id: Sid) -> bool {
        let mut state = self.state();
        state.connections.retain(|connection| connection.id != id);
        state.emptied_at = now();
        state.connections.is_empty()
    }

    /// Returns whether a channel without connections must be kept: it remembers events that throttle further ones.
    pub(crate) fn must_be_kept(&self) -> bool {
        let (now, mut state) = (now(), self.state());
        now < state.emptied_at + self.interval && !state.throttle.is_idle(now)
    }

    /// Returns when each connection was opened, in milliseconds since 1970.
    pub(crate) fn opening_times(&self) -> Vec<i64> {
        self.state().connections.iter().map(|connection| connection.opened_at).collect()
    }

    /// Returns the connections that are not among the `limit` newest of these and of those in other processes.
    pub(crate) fn excess_connections(&self, limit: usize, elsewhere: &[i64]) -> Vec<Arc<Connection>> {
        let state = self.state();
        let newer = |at: usize, opened_at: i64| {
            // Within this process the order of joining counts, whatever the clock says.
            let here = state.connections.len() - 1 - at;
            here + elsewhere.iter().filter(|other| **other > opened_at).count()
        };
        let connections = state.connections.iter().enumerate();
        connections
            .filter(|(at, one)| newer(*at, one.opened_at) >= limit)
            .map(|(_, one)| one.clone())
            .collect()
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.state().connections.clone()
    }

    /// Delivers what a signal stands for to all connections, in order. Returns at once.
    pub(crate) fn deliver(self: &Arc<Self>, context: &Arc<DeliveryContext>, signal: Signal) {
        let mut state = self.state();
        let is_full = state.waiting.len() >= MAX_WAITING_SIGNALS;
        match (&signal, state.waiting.back_mut()) {
            // One read serves both.
            (Signal::New(id), Some(Signal::New(last))) => {
                *last = id.as_ref().zip(last.as_ref()).map(|(id, last)| *id.max(last));
            }
            (Signal::Due, Some(Signal::Due)) => {}
            _ if !is_full => state.waiting.push_back(signal),
            _ => {
                // Clients that reconnect read the current state.
                state.waiting.clear();
                return state.connections.iter().for_each(|one| context.engine.close(&one.transport));
            }
        }
        if !std::mem::replace(&mut state.is_working, true) {
            let (channel, context) = (self.clone(), context.clone());
            let runtime = context.engine.runtime.clone();
            runtime.spawn(async move { channel.work(&context).await });
        }
    }

    async fn work(self: &Arc<Self>, context: &Arc<DeliveryContext>) {
        loop {
            let signal = {
                let mut state = self.state();
                let Some(signal) = state.waiting.pop_front() else {
                    state.is_working = false;
                    return;
                };
                signal
            };
            match signal {
                Signal::New(id) => self.send_new(context, id).await,
                Signal::Due => self.send_due(context).await,
                Signal::Change(change) => {
                    for connection in self.connections() {
                        let outcome =
                            connection.send_change(&change, context.engine.config.max_queued_packets);
                        self.follow_if_full(context, &connection, outcome, || {
                            Some(HeldEvent::Change(change.clone()))
                        });
                    }
                }
            }
        }
    }

    /// Sends every notification that a live connection lacks, in the order of their ids.
    async fn send_new(self: &Arc<Self>, context: &Arc<DeliveryContext>, id: Option<NotificationId>) {
        loop {
            // Connections that are catching up remember the signal and read for themselves.
            let cursors = self.connections();
            let Some(cursor) = cursors.iter().filter_map(|connection| connection.cursor()).min() else {
                return;
            };
            if id.is_some_and(|id| id <= cursor) {
                return;
            }
            let Some(rows) = context.try_read_since(self.user, cursor, MAX_READ).await else { continue };
            for row in &rows {
                self.send(context, row);
            }
            if rows.len() < MAX_READ {
                return;
            }
        }
    }

    fn send(self: &Arc<Self>, context: &Arc<DeliveryContext>, row: &NotificationView) {
        let body = self.may_send(context, row).then(|| NewNotification::new(row.clone(), false));
        for connection in self.connections() {
            let Some(outcome) = connection.offer(row.id, body.as_ref()) else { continue };
            if outcome == SendOutcome::Queued {
                self.record_sent(context, row);
            }
            self.follow_if_full(context, &connection, outcome, || None);
        }
    }

    /// Sends the deferred notifications that are due and still exist.
    async fn send_due(self: &Arc<Self>, context: &Arc<DeliveryContext>) {
        let due = self.state().throttle.due(now());
        for id in due {
            let row = loop {
                // Without connections it stays deferred until a client reconnects or the channel is dropped.
                if self.state().connections.is_empty() {
                    return;
                }
                if let Some(rows) = context.try_read_since(self.user, NotificationId(id.0 - 1), 1).await {
                    break rows.into_iter().find(|row| row.id == id);
                }
            };
            let Some(row) = row else {
                self.state().throttle.cancel(id);
                continue;
            };
            // First, so that a connection that is catching up either sees it as sent or is found past it.
            self.state().throttle.record_sent(&row, now());
            for connection in self.connections() {
                let limit = context.engine.config.max_queued_packets;
                let Some(outcome) = connection.send_deferred(&row, limit) else { continue };
                if outcome == SendOutcome::Queued {
                    context.engine.metrics.counters().sent += 1;
                }
                self.follow_if_full(context, &connection, outcome, || Some(HeldEvent::Deferred(row.clone())));
            }
        }
    }

    /// Returns whether a notification may be sent now. If it is deferred, schedules its delivery.
    fn may_send(self: &Arc<Self>, context: &Arc<DeliveryContext>, row: &NotificationView) -> bool {
        let decision = self.state().throttle.decide(row, now());
        if let Decision::DeferUntil(due) = decision {
            context.engine.metrics.counters().deferred += 1;
            let (channel, context) = (self.clone(), context.clone());
            let runtime = context.engine.runtime.clone();
            runtime.spawn(async move {
                sleep_until(due.into()).await;
                channel.deliver(&context, Signal::Due);
            });
        }
        decision == Decision::SendNow
    }

    fn record_sent(&self, context: &DeliveryContext, row: &NotificationView) {
        context.engine.metrics.counters().sent += 1;
        self.state().throttle.record_sent(row, now());
    }

    /// Lets a client whose queue is full catch up by itself, so that the user's other clients need not wait for it.
    fn follow_if_full(
        self: &Arc<Self>,
        context: &Arc<DeliveryContext>,
        connection: &Arc<Connection>,
        outcome: SendOutcome,
        event: impl FnOnce() -> Option<HeldEvent>,
    ) {
        if outcome != SendOutcome::QueueFull {
            return;
        }
        match connection.fall_behind(event()) {
            Some(cursor) => {
                let (channel, context, connection) = (self.clone(), context.clone(), connection.clone());
                let runtime = context.engine.runtime.clone();
                runtime.spawn(async move { channel.follow(&context, &connection, cursor).await });
            }
            None => context.close_if_too_slow(connection, outcome),
        }
    }

    /// Sends one connection what it lacks, as fast as its client reads, until it has caught up.
    async fn follow(
        self: &Arc<Self>,
        context: &Arc<DeliveryContext>,
        connection: &Connection,
        mut cursor: NotificationId,
    ) {
        let timeout = context.engine.config.send_timeout;
        while !connection.transport.closed.is_cancelled() {
            let Some(rows) = context.try_read_since(self.user, cursor, MAX_READ).await else { continue };
            for row in &rows {
                connection.advance(row.id);
                if !self.may_send(context, row) || connection.is_held(row.id) {
                    continue;
                }
                let body = NewNotification::new(row.clone(), false);
                let outcome = connection.send_when_ready(names::NEW_NOTIFICATION, &body, timeout).await;
                if outcome != SendOutcome::Queued {
                    return context.close_if_too_slow(connection, outcome);
                }
                self.record_sent(context, row);
            }
            cursor = rows.last().map_or(cursor, |row| row.id);
            if rows.len() < MAX_READ {
                return self.go_live(context, connection, cursor).await;
            }
        }
    }

    /// Makes a connection live that has all notifications up to `cursor`.
    pub(crate) async fn go_live(
        self: &Arc<Self>,
        context: &Arc<DeliveryContext>,
        connection: &Connection,
        cursor: NotificationId,
    ) {
        let (outcome, has_missed) = connection.go_live(cursor, context.engine.config.send_timeout).await;
        if has_missed && outcome == SendOutcome::Queued {
            self.deliver(context, Signal::New(None));
        }
        let is_overdue = !self.state().throttle.due(now()).is_empty();
        if is_overdue {
            self.deliver(context, Signal::Due);
        }
        context.close_if_too_slow(connection, outcome);
    }
}
