//! A user's channel: the connections of a user, and the order in which they receive events.
//!
//! Nothing is lost, repeated or reordered, because a signal only says that something changed: what is sent is read from
//! the database, above what was sent last. The id of a notification is assigned under a lock on its recipient's row, so
//! among those of one recipient a larger id was committed later: a connection that has read up to an id has everything
//! below it. A client that connects with `since` is served by the same reads.
//!
//! Each connection has a queue of events and at most one task that handles it, so a slow client delays no other one.
//!
//! The exception is a deferred notification (see [`LiveThrottle`]): connections skip it, and receive it out of order when
//! it is due. The channel outlives its last connection by one interval, so that clients that reconnect receive it too,
//! even if they pass a larger id as `since`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{
    live_throttle::{Decision, LiveThrottle},
    notifications::{NotificationId, NotificationRepository, NotificationView},
    page::{PageNumber, PageRequest, PageSize, PageStart},
    users::UserId,
};
use socketioxide::socket::Sid;
use tokio::time::{sleep, sleep_until};

use crate::{
    delivery::connection::{Connection, Failure, Progress, QueuedEvent},
    engine::shared::Engine,
    events::{Change, Connected, NewNotification, ReplayComplete, names},
};

/// Maximum number of notifications read at once.
const MAX_READ: usize = 200;

/// Delay before a failed read is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The connections of a user.
pub(crate) struct UserChannel {
    pub(crate) user: UserId,
    engine: Arc<Engine>,
    notifications: Arc<dyn NotificationRepository>,
    state: Mutex<ChannelState>,
    /// Locked while a connection reads, so that the others of the user find what they lack too.
    last_read: tokio::sync::Mutex<Option<LastRead>>,
}

struct ChannelState {
    connections: Vec<Arc<Connection>>,
    throttle: LiveThrottle,
    /// Counts changes of existing notifications, after which rows that were read before are outdated.
    changes: u64,
    emptied_at: Instant,
}

/// Notifications as they were read, above an id.
struct LastRead {
    since: NotificationId,
    rows: Arc<[NotificationView]>,
    changes: u64,
}

/// Returns the time of Tokio's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl UserChannel {
    pub(crate) fn new(
        user: UserId,
        engine: Arc<Engine>,
        notifications: Arc<dyn NotificationRepository>,
    ) -> Arc<Self> {
        let state = ChannelState {
            connections: Vec::new(),
            throttle: LiveThrottle::new(engine.config.live_event_interval),
            changes: 0,
            emptied_at: now(),
        };
        let (state, last_read) = (Mutex::new(state), tokio::sync::Mutex::default());
        Arc::new(Self { user, engine, notifications, state, last_read })
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
        now < state.emptied_at + self.engine.config.live_event_interval && !state.throttle.is_idle(now)
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

    /// Sends all connections the new notifications: up to this one, or an unknown number. Returns at once.
    pub(crate) fn deliver_new(self: &Arc<Self>, id: Option<NotificationId>) {
        for connection in &self.state().connections {
            self.enqueue(connection, QueuedEvent::New(id));
        }
    }

    /// Sends a change to all connections, after the notifications before it. Returns at once.
    pub(crate) fn deliver_change(self: &Arc<Self>, change: &Change) {
        let mut state = self.state();
        state.changes += 1;
        for connection in &state.connections {
            self.enqueue(connection, QueuedEvent::Change(change.clone()));
        }
    }

    fn enqueue(self: &Arc<Self>, connection: &Arc<Connection>, event: QueuedEvent) {
        if connection.enqueue(event) {
            self.engine.runtime.spawn(self.clone().work(connection.clone()));
        }
    }

    /// Sends a connection what is in its queue, until it is empty or the client is gone.
    pub(crate) async fn work(self: Arc<Self>, connection: Arc<Connection>) {
        while let Some(event) = connection.next_event() {
            let result = match event {
                QueuedEvent::Welcome(since) => self.welcome(&connection, since).await,
                QueuedEvent::New(id) => self.send_new(&connection, id).await,
                QueuedEvent::Due(row) => self.send(&connection, &row).await,
                QueuedEvent::Change(Change::Read(read)) => {
                    connection.send(names::NOTIFICATION_READ, &read).await
                }
                QueuedEvent::Change(Change::Deleted(deleted)) => {
                    connection.send(names::NOTIFICATION_DELETED, &deleted).await
                }
            };
            if let Err(failure) = result {
                return connection.fail(failure);
            }
        }
    }

    /// Sends `connected`, then the notifications above `since`, which the client missed.
    async fn welcome(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        since: Option<NotificationId>,
    ) -> Result<(), Failure> {
        let newest = PageRequest { start: PageStart::Page(PageNumber::FIRST), size: PageSize::ONE };
        let found = self.notifications.list(self.user, false, newest).await?;
        let connected = Connected {
            message: "Connected to notification service",
            user_id: self.user.0,
            unread_count: found.unread_count,
        };
        connection.send(names::CONNECTED, &connected).await?;
        let newest = found.page.items.first().map_or(NotificationId(0), |newest| newest.id);
        connection.begin(match since {
            None => Progress { cursor: newest, replayed: (newest, newest) },
            Some(since) => {
                let last = self.replay(connection, since).await?;
                Progress { cursor: newest.max(last), replayed: (since, last) }
            }
        });
        // Some may have become due while no client was connected.
        self.queue_due().await;
        Ok(())
    }

    /// Sends the notifications above `since`, then `replay_complete`. Returns the last notification that was sent.
    async fn replay(
        &self,
        connection: &Connection,
        since: NotificationId,
    ) -> Result<NotificationId, Failure> {
        let limit = self.engine.config.max_replayed;
        let rows = self.read_since(since, limit + 1).await?;
        let mut last = NotificationId(0);
        for row in rows.iter().take(limit) {
            let body = NewNotification::new(row.clone(), true);
            connection.send(names::NEW_NOTIFICATION, &body).await?;
            self.engine.counters().replayed += 1;
            last = row.id;
        }
        let complete = ReplayComplete { count: rows.len().min(limit), truncated: rows.len() > limit };
        connection.send(names::REPLAY_COMPLETE, &complete).await?;
        Ok(last)
    }

    /// Sends every notification that a connection lacks, in the order of their ids.
    async fn send_new(
        self: &Arc<Self>,
        connection: &Connection,
        up_to: Option<NotificationId>,
    ) -> Result<(), Failure> {
        loop {
            let cursor = connection.cursor();
            if up_to.is_some_and(|id| id <= cursor) {
                return Ok(());
            }
            let Some(rows) = self.read_new(cursor, up_to).await else {
                if connection.is_closed() {
                    return Err(Failure::Closed);
                }
                continue;
            };
            for row in rows.iter().filter(|row| row.id > cursor) {
                if self.offer(connection, row) {
                    self.send(connection, row).await?;
                }
            }
            if rows.len() < MAX_READ {
                return Ok(());
            }
        }
    }

    /// Reads notifications above `cursor`, unless another connection has just read those up to `up_to`. `None` after a
    /// delay if the database fails.
    async fn read_new(
        &self,
        cursor: NotificationId,
        up_to: Option<NotificationId>,
    ) -> Option<Arc<[NotificationView]>> {
        let mut last_read = self.last_read.lock().await;
        let changes = self.state().changes;
        if let Some(LastRead { since, rows, .. }) = last_read.as_ref().filter(|read| read.changes == changes)
            && *since <= cursor
            && up_to.is_some_and(|id| rows.last().is_some_and(|last| id <= last.id))
        {
            return Some(rows.clone());
        }
        let rows: Arc<[_]> = self.try_read_since(cursor, MAX_READ).await?.into();
        *last_read = Some(LastRead { since: cursor, rows: rows.clone(), changes });
        Some(rows)
    }

    /// Advances the connection to a notification, and returns whether to send it now. If it is deferred, schedules its
    /// delivery. Under one lock with `queue_due`: a notification that becomes due meanwhile is neither lost nor repeated.
    fn offer(self: &Arc<Self>, connection: &Connection, row: &NotificationView) -> bool {
        let mut state = self.state();
        connection.advance(row.id);
        let decision = state.throttle.decide(row, now());
        if let Decision::DeferUntil(due) = decision {
            self.engine.counters().deferred += 1;
            let channel = self.clone();
            self.engine.runtime.spawn(async move {
                sleep_until(due.into()).await;
                channel.queue_due().await;
            });
        }
        decision == Decision::SendNow
    }

    async fn send(&self, connection: &Connection, row: &NotificationView) -> Result<(), Failure> {
        connection.send(names::NEW_NOTIFICATION, &NewNotification::new(row.clone(), false)).await?;
        self.engine.counters().sent += 1;
        self.state().throttle.record_sent(row, now());
        Ok(())
    }

    /// Queues the deferred notifications that are due and still exist.
    async fn queue_due(self: &Arc<Self>) {
        loop {
            let (id, changes) = {
                let state = self.state();
                // Without connections they stay deferred until a client reconnects or the channel is dropped.
                match state.throttle.due(now()).first() {
                    Some(id) if !state.connections.is_empty() => (*id, state.changes),
                    _ => return,
                }
            };
            let Some(rows) = self.try_read_since(NotificationId(id.0 - 1), 1).await else { continue };
            let mut state = self.state();
            // Another task may have sent it, and a deletion may have overtaken it.
            if state.changes != changes || !state.throttle.due(now()).contains(&id) {
                continue;
            }
            let Some(row) = rows.iter().find(|row| row.id == id) else {
                state.throttle.cancel(id);
                continue;
            };
            state.throttle.record_sent(row, now());
            for connection in state.connections.iter().filter(|connection| connection.lacks(id)) {
                self.enqueue(connection, QueuedEvent::Due(row.clone()));
            }
        }
    }

    async fn read_since(&self, since: NotificationId, limit: usize) -> domain::Result<Vec<NotificationView>> {
        self.notifications.since(self.user, since, i64::try_from(limit).unwrap_or(i64::MAX)).await
    }

    /// Like `read_since`, but returns `None` after a delay if the database fails, for callers that try again.
    async fn try_read_since(&self, since: NotificationId, limit: usize) -> Option<Vec<NotificationView>> {
        match self.read_since(since, limit).await {
            Ok(rows) => Some(rows),
            Err(error) => {
                tracing::warn!(user.id = self.user.0, %error, "failed to read new notifications, retrying");
                sleep(RETRY_DELAY).await;
                None
            }
        }
    }
}
