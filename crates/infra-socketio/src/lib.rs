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
pub mod events;
#[doc(hidden)]
pub mod fuzz;
mod handlers;
mod metrics;
mod state;

use std::{sync::Arc, time::Duration};

use domain::{
    Error, Result, clock::Clock, notifications::NotificationRepository, sessions::SessionAuthenticator,
};
use socketioxide::socket::Sid;
use tokio::runtime::Handle;

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
    cluster::{
        presence::Presence,
        publisher::ClusterPublisher,
        subscriber::{self, ClusterReceiver},
    },
    delivery::{context::DeliveryContext, registry::Registry},
    engine::{route, shared::Engine},
    state::SharedState,
};

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
        let runtime = Handle::current();
        let (engine, io) = Engine::new(config);
        let engine = Arc::new(engine);
        let registry = Arc::new(Registry::new(engine.config.live_event_interval));
        let (publisher, cluster) = join_cluster(&engine, &registry)?;
        let delivery = Arc::new(DeliveryContext { engine: engine.clone(), notifications });
        let presence = Presence::default();
        let state = SharedState { engine, io, delivery, sessions, clock, registry, presence, publisher };
        let state = Arc::new(state);
        handlers::register(&state);
        runtime.spawn(state.clone().run(signals, cluster));
        Ok(Self { state })
    }

    /// Returns the resource `/socket.io`, for an actix-web application that is served by [`listen`].
    pub fn resource(&self) -> actix_web::Resource {
        route::resource(self.state.engine.clone())
    }

    /// Returns the number of connected users, over all processes.
    pub fn connected_users(&self) -> usize {
        self.state.connected_users()
    }

    /// Returns the metrics of this process.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.state.metrics()
    }

    /// Refuses new connections and closes the open ones, spread over a time, so that their clients do not reconnect all
    /// at once. Run it while the HTTP server stops, which waits for its connections.
    pub async fn close(&self, spread: Duration) {
        self.state.shut_down(spread).await;
    }
}

/// Connects to other processes, if Redis is configured.
fn join_cluster(
    engine: &Arc<Engine>,
    registry: &Arc<Registry>,
) -> Result<(Option<ClusterPublisher>, ClusterReceiver)> {
    let Some(url) = &engine.config.redis_url else { return Ok((None, ClusterReceiver::closed())) };
    let (channel, own_name) = (engine.config.redis_channel.clone(), Sid::new().to_string());
    let (redis, receiver) =
        subscriber::connect(url, channel.clone(), own_name.clone()).map_err(Error::internal)?;
    let (publisher, task) = ClusterPublisher::new(redis, channel, own_name, registry.clone(), engine.clone());
    engine.runtime.spawn(task.run());
    Ok((Some(publisher), receiver))
}
