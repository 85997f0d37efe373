//! Live notifications by Socket.IO, inside the HTTP server.
//!
//! Use cases announce committed changes to a [`LiveNotifier`], the sending end of a queue. [`SocketServer`] owns the
//! receiving end: it reads new notifications from the database and sends them to the connections of their recipients, of
//! this process and, over Redis, of others. The module `delivery::user` explains why nothing is lost or repeated.

mod asyncapi;
mod cluster;
mod config;
mod delivery;
mod engine;
mod events;
#[doc(hidden)]
pub mod fuzz;
mod handlers;
mod metrics;
mod state;
#[doc(hidden)]
pub mod testing;

use std::{sync::Arc, time::Duration};

use domain::{Result, clock::Clock, notifications::NotificationRepository, sessions::SessionAuthenticator};
use tokio::{sync::Notify, time::timeout};

pub use crate::{
    asyncapi::asyncapi,
    config::{ByteBudget, SocketConfig},
    delivery::signal::{LiveNotifier, SignalReceiver, signal_queue},
    engine::{
        listen::{ConnectionTimeouts, listen},
        refusal::Refusal,
    },
    metrics::MetricsSnapshot,
};
use crate::{
    cluster::{message::ClusterMessage, presence::Presence, publisher::ClusterPublisher},
    delivery::registry::Registry,
    engine::{route, shared::Engine},
    state::SharedState,
};

/// Maximum time for the engine to close at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The Socket.IO server. Clones share one server.
#[derive(Clone)]
pub struct SocketServer {
    state: Arc<SharedState>,
}

impl SocketServer {
    /// Starts the server on the current runtime, which must be multi-threaded: SQLite's driver blocks.
    ///
    /// # Errors
    /// If the Redis URL is invalid. Redis itself need not run yet.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn start(
        signals: SignalReceiver,
        config: SocketConfig,
        sessions: Arc<dyn SessionAuthenticator>,
        notifications: Arc<dyn NotificationRepository>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (engine, io) = Engine::new(config);
        let engine = Arc::new(engine);
        let registry = Arc::new(Registry::new(engine.clone(), notifications));
        let (publisher, cluster) = ClusterPublisher::start(&engine, &registry)?;
        let (presence, missed) = (Presence::default(), Notify::new());
        let state = SharedState { engine, io, sessions, clock, registry, presence, publisher, missed };
        let state = Arc::new(state);
        handlers::register(&state);
        state.engine.runtime.spawn(state.clone().run(signals, cluster));
        Ok(Self { state })
    }

    /// Returns the resource `/socket.io`, for an actix-web application that is served by [`listen`].
    pub fn resource(&self) -> actix_web::Resource {
        route::resource(self.state.engine.clone())
    }

    /// Returns whether an Engine.IO session is open on this process.
    pub fn has_session(&self, sid: &str) -> bool {
        sid.parse().is_ok_and(|sid| self.state.engine.transports.find(sid).is_some())
    }

    /// Returns the number of connected users, over all processes.
    pub fn connected_users(&self) -> usize {
        let registry = &self.state.registry;
        let elsewhere = self.state.presence.count_elsewhere(|user| registry.channel(user).is_some());
        registry.count().1 + elsewhere
    }

    /// Returns the metrics of this process.
    pub fn metrics(&self) -> MetricsSnapshot {
        let SharedState { engine, registry, publisher, .. } = &*self.state;
        let (open, users) = registry.count();
        MetricsSnapshot {
            open,
            users,
            transports: engine.transports.count(),
            is_redis_up: publisher.as_ref().map(ClusterPublisher::is_up),
            ..*engine.counters()
        }
    }

    /// Refuses new connections and closes the open ones, spread over a time, so that their clients do not reconnect all
    /// at once. Run it while the HTTP server stops, which waits for its connections.
    pub async fn close(&self, spread: Duration) {
        self.state.engine.stopping.cancel();
        self.state.publish(|| ClusterMessage::PresenceSnapshot(Vec::new()));
        self.state.close_all(spread).await;
        // Transports that have not authenticated. One that hangs must not delay the stop.
        let _ = timeout(CLOSE_TIMEOUT, self.state.io.close()).await;
    }
}
