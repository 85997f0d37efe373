//! Shared state of the socket server, and the task that handles signals, messages of other processes and timers.

use std::{sync::Arc, time::Duration};

use domain::{
    clock::Clock,
    notifications::NotificationId,
    sessions::{SessionAuthenticator, SessionId},
    users::UserId,
};
use socketioxide::SocketIo;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::{
    cluster::{
        message::ClusterMessage,
        presence::Presence,
        publisher::ClusterPublisher,
        subscriber::{ClusterEvent, ClusterReceiver},
    },
    delivery::{
        context::DeliveryContext,
        registry::Registry,
        signal::{QueuedSignal, Signal, SignalReceiver},
    },
    engine::shared::Engine,
    events::{SessionExpiring, names},
    metrics::MetricsSnapshot,
};

/// Time between two checks for expired tokens, dropped signals and idle channels.
const TICK: Duration = Duration::from_secs(1);

/// Delay between two users while everybody catches up, so that the database has time for others.
const CATCH_UP_DELAY: Duration = Duration::from_millis(1);

/// Over how long connections are closed after the signal queue was full.
const OVERFLOW_CLOSE_TIME: Duration = Duration::from_secs(10);

/// Maximum time for the engine to close at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that the socket server shares.
pub(crate) struct SharedState {
    pub(crate) engine: Arc<Engine>,
    pub(crate) io: SocketIo,
    pub(crate) delivery: Arc<DeliveryContext>,
    pub(crate) sessions: Arc<dyn SessionAuthenticator>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) presence: Presence,
    /// `None` for a single process.
    pub(crate) publisher: Option<ClusterPublisher>,
}

impl SharedState {
    /// Handles signals, events and timers until all notifiers are dropped.
    pub(crate) async fn run(self: Arc<Self>, mut signals: SignalReceiver, mut cluster: ClusterReceiver) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                is_open = signals.receive(&mut batch) => {
                    if !is_open {
                        return;
                    }
                    batch.drain(..).for_each(|signal| self.on_signal(signal));
                }
                Some(event) = cluster.receive() => self.on_cluster_event(event),
                _ = ticks.tick() => {
                    self.check_expiry();
                    self.registry.drop_idle_channels();
                    if signals.take_overflow() {
                        self.on_overflow();
                    }
                    if cluster.take_overflow() {
                        self.catch_up();
                    }
                }
            }
        }
    }

    fn on_signal(&self, signal: QueuedSignal) {
        match signal {
            QueuedSignal::ForUser(user, signal) => {
                let message = ClusterMessage::from_signal(user, &signal);
                // First to the own connections: nothing that happens to Redis delays them.
                self.deliver(user, signal);
                if let Some(message) = message {
                    self.publish(|| message);
                }
            }
            QueuedSignal::SessionsEnded(sessions) => {
                self.close_sessions(&sessions);
                self.publish(|| ClusterMessage::SessionsEnded(sessions.iter().map(|id| id.0).collect()));
            }
        }
    }

    fn on_cluster_event(self: &Arc<Self>, event: ClusterEvent) {
        match event {
            ClusterEvent::Subscribed => self.catch_up(),
            ClusterEvent::Message { sender, message } => self.on_message(sender, message),
        }
    }

    fn on_message(self: &Arc<Self>, sender: String, message: ClusterMessage) {
        match message {
            ClusterMessage::NewNotifications(user, id) => {
                self.deliver(UserId(user), Signal::New(id.map(NotificationId)));
            }
            ClusterMessage::NotificationsChanged(user, change) => {
                self.deliver(UserId(user), Signal::Change(change));
            }
            ClusterMessage::SessionsEnded(sessions) => {
                let sessions: Vec<_> = sessions.into_iter().map(SessionId).collect();
                self.sessions.mark_ended(&sessions);
                self.close_sessions(&sessions);
            }
            ClusterMessage::CatchUp => self.catch_up(),
            ClusterMessage::Presence(user, times) => {
                self.presence.update(&sender, UserId(user), times);
                self.enforce_connection_limit(UserId(user));
            }
            ClusterMessage::PresenceSnapshot(users) => {
                let users: Vec<_> = users.into_iter().map(|(user, times)| (UserId(user), times)).collect();
                self.presence.replace(sender, users.iter().cloned());
                for (user, _) in users {
                    self.enforce_connection_limit(user);
                }
            }
        }
    }

    /// Delivers a signal to the connections of a user to this process.
    fn deliver(&self, user: UserId, signal: Signal) {
        if let Some(channel) = self.registry.channel(user) {
            channel.deliver(&self.delivery, signal);
        }
    }

    fn publish(&self, message: impl FnOnce() -> ClusterMessage) {
        if let Some(publisher) = &self.publisher {
            publisher.publish(message());
        }
    }

    /// Closes the connections of ended sessions to this process.
    fn close_sessions(&self, sessions: &[SessionId]) {
        for connection in self.registry.of_sessions(sessions) {
            self.engine.metrics.counters().revoked += 1;
            self.engine.close(&connection.transport);
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
            self.engine.metrics.counters().evicted += 1;
            self.engine.close(&connection.transport);
            self.registry.leave(connection.id);
        }
        if !excess.is_empty() {
            self.publish(|| ClusterMessage::Presence(user.0, self.registry.opening_times(user)));
        }
    }

    /// Returns the number of connected users over all known processes.
    pub(crate) fn connected_users(&self) -> usize {
        let elsewhere = self.presence.count_elsewhere(|user| self.registry.channel(user).is_some());
        self.registry.count().1 + elsewhere
    }

    pub(crate) fn metrics(&self) -> MetricsSnapshot {
        let (open, users) = self.registry.count();
        MetricsSnapshot {
            open,
            users,
            transports: self.engine.transports.count(),
            is_redis_up: self.publisher.as_ref().map(ClusterPublisher::is_up),
            ..*self.engine.metrics.counters()
        }
    }

    /// Warns clients whose tokens expire soon, and closes the connections of expired ones.
    fn check_expiry(&self) {
        let now = self.clock.now();
        for connection in self.registry.connections() {
            let (expires_at, should_warn) = connection.expiry(now, self.engine.config.expiry_warning);
            if expires_at <= now {
                self.engine.metrics.counters().expired += 1;
                self.engine.close(&connection.transport);
            } else if should_warn {
                let event = SessionExpiring::new(expires_at, now);
                let outcome = connection.send(names::SESSION_EXPIRING, &event);
                self.delivery.close_if_too_slow(&connection, outcome);
            }
        }
    }

    /// Checks everything that may have been missed: new notifications, and the ends of sessions.
    fn catch_up(self: &Arc<Self>) {
        let state = self.clone();
        self.engine.runtime.spawn(async move {
            for channel in state.registry.channels() {
                channel.deliver(&state.delivery, Signal::New(None));
                sleep(CATCH_UP_DELAY).await;
            }
            for connection in state.registry.connections() {
                let session = connection.session();
                match state.sessions.is_active(session).await {
                    Ok(true) => {}
                    Ok(false) => state.close_sessions(&[session]),
                    Err(error) => tracing::warn!(%error, "failed to check whether a session is still active"),
                }
            }
        });
    }

    /// Makes up for dropped signals: clients that reconnect read what they missed, and ended sessions are refused.
    fn on_overflow(self: &Arc<Self>) {
        tracing::warn!("the queue of signals was full, closing all connections so that clients catch up");
        self.engine.metrics.counters().queue_overflows += 1;
        self.publish(|| ClusterMessage::CatchUp);
        let state = self.clone();
        self.engine.runtime.spawn(async move { state.close_all(OVERFLOW_CLOSE_TIME).await });
    }

    /// Closes all connections, spread over a time, so that their clients do not reconnect all at once.
    async fn close_all(&self, spread: Duration) {
        let connections = self.registry.connections();
        let pause = spread / u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        for connection in connections {
            self.engine.close(&connection.transport);
            sleep(pause).await;
        }
    }

    /// Refuses new connections and closes all others.
    pub(crate) async fn shut_down(&self, spread: Duration) {
        self.engine.stopping.cancel();
        self.publish(|| ClusterMessage::PresenceSnapshot(Vec::new()));
        self.close_all(spread).await;
        // Transports that have not authenticated. One that hangs must not delay the stop.
        let _ = timeout(CLOSE_TIMEOUT, self.io.close()).await;
    }
}
