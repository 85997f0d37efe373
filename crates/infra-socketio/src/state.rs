//! Shared state of the socket server, and the task that handles signals, messages of other processes and timers.

use std::{sync::Arc, time::Duration};

use domain::{
    clock::Clock,
    notifications::NotificationId,
    sessions::{SessionAuthenticator, SessionId},
    users::UserId,
};
use socketioxide::SocketIo;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    cluster::{
        message::ClusterMessage,
        presence::{Presence, plausible},
        publisher::ClusterPublisher,
        subscriber::ClusterEvent,
    },
    delivery::{
        queue::LossyReceiver,
        registry::Registry,
        signal::{Signal, SignalReceiver},
    },
    engine::shared::Engine,
    events::{SessionExpiring, names},
};

/// Time between two checks for expired tokens, dropped signals and idle channels.
const TICK: Duration = Duration::from_secs(1);

/// Maximum number of signals or messages handled at once.
const MAX_BATCH_SIZE: usize = 256;

/// Delay between two users while everybody catches up, so that the database has time for others.
const CATCH_UP_DELAY: Duration = Duration::from_millis(1);

/// Time between two checks whether the sessions of all connections are still active. An end closes its connections within
/// this time and that of the check, in every process.
const SESSION_CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Maximum number of sessions checked by one query, which takes a few milliseconds.
const MAX_CHECKED_SESSIONS: usize = 512;

/// Over how long connections are closed after the signal queue was full.
const OVERFLOW_CLOSE_TIME: Duration = Duration::from_secs(10);

/// Everything that the socket server shares.
pub(crate) struct SharedState {
    pub(crate) engine: Arc<Engine>,
    pub(crate) io: SocketIo,
    pub(crate) sessions: Arc<dyn SessionAuthenticator>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) presence: Presence,
    /// `None` for a single process.
    pub(crate) publisher: Option<ClusterPublisher>,
    /// Notified if signals of other processes may have been missed.
    pub(crate) missed: Notify,
}

impl SharedState {
    /// Handles signals, events and timers until all notifiers are dropped.
    pub(crate) async fn run(
        self: Arc<Self>,
        SignalReceiver(mut signals): SignalReceiver,
        mut cluster: LossyReceiver<ClusterEvent>,
    ) {
        let _catching_up = AbortOnDropHandle::new(tokio::spawn(self.clone().catch_up()));
        let _checking = AbortOnDropHandle::new(tokio::spawn(self.clone().check_sessions()));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut batch, mut events) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                is_open = signals.receive(&mut batch, MAX_BATCH_SIZE) => {
                    if !is_open {
                        return;
                    }
                    for signal in batch.drain(..) {
                        // First to the own connections: nothing that happens to Redis delays them.
                        self.deliver(&signal);
                        self.publish(|| ClusterMessage::Signal(signal));
                    }
                }
                // Closed without Redis.
                true = cluster.receive(&mut events, MAX_BATCH_SIZE) => {
                    events.drain(..).for_each(|event| self.on_cluster_event(event));
                }
                _ = ticks.tick() => {
                    self.check_expiry();
                    self.registry.drop_idle_channels();
                    if signals.take_overflow() {
                        self.on_overflow();
                    }
                    if cluster.take_overflow() {
                        self.missed.notify_one();
                    }
                }
            }
        }
    }

    fn on_cluster_event(&self, event: ClusterEvent) {
        let (sender, message) = match event {
            ClusterEvent::Subscribed => return self.missed.notify_one(),
            ClusterEvent::Message { sender, message } => (sender, message),
        };
        match message {
            ClusterMessage::CatchUp => self.missed.notify_one(),
            ClusterMessage::Presence(user, times) => {
                self.presence.update(&sender, UserId(user), plausible(times, self.clock.now()));
                self.enforce_connection_limit(UserId(user));
            }
            ClusterMessage::PresenceSnapshot(users) => {
                let now = self.clock.now();
                let users = users.into_iter().map(|(user, times)| (UserId(user), plausible(times, now)));
                let users: Vec<_> = users.collect();
                self.presence.replace(sender, users.iter().cloned());
                for (user, _) in users {
                    self.enforce_connection_limit(user);
                }
            }
            ClusterMessage::Signal(signal) => {
                if let Signal::SessionsEnded(sessions) = &signal {
                    self.sessions.mark_ended(&session_ids(sessions));
                }
                self.deliver(&signal);
            }
        }
    }

    /// Delivers a signal to the connections to this process.
    fn deliver(&self, signal: &Signal) {
        match signal {
            Signal::NewNotifications(user, id) => {
                if let Some(channel) = self.registry.channel(UserId(*user)) {
                    channel.deliver_new(id.map(NotificationId));
                }
            }
            Signal::NotificationsChanged(user, change) => {
                if let Some(channel) = self.registry.channel(UserId(*user)) {
                    channel.deliver_change(change);
                }
            }
            Signal::SessionsEnded(sessions) => self.close_sessions(&session_ids(sessions)),
        }
    }

    pub(crate) fn publish(&self, message: impl FnOnce() -> ClusterMessage) {
        if let Some(publisher) = &self.publisher {
            publisher.publish(message());
        }
    }

    /// Closes the connections of ended sessions to this process.
    fn close_sessions(&self, sessions: &[SessionId]) {
        for connection in self.registry.of_sessions(sessions) {
            self.engine.counters().revoked += 1;
            connection.close();
        }
    }

    /// Reports the connections of a user to other processes, and enforces the limit.
    pub(crate) fn on_presence_change(&self, user: UserId) {
        self.publish(|| ClusterMessage::Presence(user.0, self.registry.opening_times(user)));
        self.enforce_connection_limit(user);
    }

    /// Closes the oldest connections of a user who has too many over all processes. Each process closes its own; if two
    /// were opened in the same millisecond, one connection too many may stay.
    fn enforce_connection_limit(&self, user: UserId) {
        let Some(channel) = self.registry.channel(user) else { return };
        let elsewhere = self.presence.opening_times(user);
        let excess = channel.excess_connections(self.engine.config.max_per_user, &elsewhere);
        for connection in &excess {
            self.engine.counters().evicted += 1;
            connection.close();
            self.registry.leave(connection.id);
        }
        if !excess.is_empty() {
            self.publish(|| ClusterMessage::Presence(user.0, self.registry.opening_times(user)));
        }
    }

    /// Warns clients whose tokens expire soon, and closes the connections of expired ones.
    fn check_expiry(&self) {
        let now = self.clock.now();
        for connection in self.registry.connections() {
            let (expires_at, should_warn) = connection.expiry(now, self.engine.config.expiry_warning);
            if expires_at <= now {
                self.engine.counters().expired += 1;
                connection.close();
            } else if should_warn {
                let event = SessionExpiring::new(expires_at, now);
                let sent = connection.try_send(names::SESSION_EXPIRING, &event);
                sent.unwrap_or_else(|failure| connection.fail(failure));
            }
        }
    }

    /// Looks for new notifications that may have been missed. Those that arrive meanwhile cause one more round.
    async fn catch_up(self: Arc<Self>) {
        loop {
            self.missed.notified().await;
            for channel in self.registry.channels() {
                channel.deliver_new(None);
                sleep(CATCH_UP_DELAY).await;
            }
        }
    }

    /// Closes the connections of sessions that ended without a signal: through another process while there is no Redis,
    /// or because an operator deactivated the user.
    async fn check_sessions(self: Arc<Self>) {
        let mut checks = interval(SESSION_CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            for sessions in self.registry.sessions().chunks(MAX_CHECKED_SESSIONS) {
                match self.sessions.find_ended(sessions.to_vec()).await {
                    Ok(ended) => self.close_sessions(&ended),
                    Err(error) => {
                        tracing::warn!(%error, "failed to check whether sessions are still active");
                        break;
                    }
                }
            }
        }
    }

    /// Makes up for dropped signals: clients that reconnect read what they missed, and ended sessions are refused.
    fn on_overflow(self: &Arc<Self>) {
        tracing::warn!("the queue of signals was full, closing all connections so that clients catch up");
        self.engine.counters().queue_overflows += 1;
        self.publish(|| ClusterMessage::CatchUp);
        let state = self.clone();
        self.engine.runtime.spawn(async move { state.close_all(OVERFLOW_CLOSE_TIME).await });
    }

    /// Closes all connections, spread over a time, so that their clients do not reconnect all at once.
    pub(crate) async fn close_all(&self, spread: Duration) {
        let connections = self.registry.connections();
        let pause = spread / u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        for connection in connections {
            connection.close();
            sleep(pause).await;
        }
    }
}

fn session_ids(sessions: &[i64]) -> Vec<SessionId> {
    sessions.iter().copied().map(SessionId).collect()
}
