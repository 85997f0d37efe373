//! Live notifications by Socket.IO, inside the HTTP server.
//!
//! [`SocketIoNotifier`] is the adapter of the port [`Notifier`]: the use cases tell it what has been committed, and it
//! tells every device of the recipient. [`SocketIoNotifier::resource`] is its HTTP side, and [`SocketUseCases`] is what
//! it needs in return. The module `channel` says why nothing is lost and nothing doubled.

mod asyncapi;
#[cfg(feature = "redis")]
mod backplane;
mod bridge;
mod channel;
mod config;
mod connect;
mod connection;
mod counters;
pub mod events;
#[doc(hidden)]
pub mod fuzz;
mod hub;
mod peers;
mod port;
mod registry;
mod server;
mod transport;

use std::{sync::Arc, time::Duration};

use domain::{
    Result,
    notifications::{LiveEvent, Notifier},
    sessions::{SessionId, SessionObserver},
};
use tokio::runtime::Handle;

#[cfg(feature = "redis")]
use crate::backplane::Word;
pub use crate::{
    asyncapi::asyncapi,
    bridge::Refusal,
    config::{ByteBudget, SocketConfig},
    counters::Counters,
    port::{SocketCaller, SocketUseCases, UnreadState},
    server::{Patience, listen},
};
use crate::{channel::Sign, events::Change, hub::Hub};

/// Tells connected devices what has been committed, by Socket.IO. Its clones are one.
#[derive(Clone)]
pub struct SocketIoNotifier {
    hub: Arc<Hub>,
}

impl SocketIoNotifier {
    /// Starts it. `runtime` is where the use cases are called, and must be a multi-thread one: SQLite's driver blocks.
    /// Fails if the URL of Redis cannot be read; Redis itself need not be there yet.
    pub fn new(config: SocketConfig, use_cases: Arc<dyn SocketUseCases>, runtime: Handle) -> Result<Self> {
        let hub = Arc::new(Hub::new(config, use_cases, runtime));
        connect::serve(&hub);
        hub.watch_expiry();
        #[cfg(feature = "redis")]
        Self::reach_others(&hub)?;
        Ok(Self { hub })
    }

    #[cfg(feature = "redis")]
    fn reach_others(hub: &Arc<Hub>) -> Result<()> {
        let Some(url) = &hub.config.redis_url else { return Ok(()) };
        let topic = hub.config.redis_channel.clone();
        let _inside = hub.runtime.enter();
        let (others, speaker) = backplane::Backplane::start(Arc::downgrade(hub), url, topic)?;
        if hub.others.set(others).is_ok() {
            hub.runtime.spawn(speaker.work());
        }
        Ok(())
    }

    /// The resource `/socket.io`, for an actix-web `App` that is served by [`listen`].
    pub fn resource(&self) -> actix_web::Resource {
        bridge::resource(self.hub.clone())
    }

    /// Closes every connection of these sessions, at once, here and in other processes. To be called when their end
    /// is committed, and no cache takes their tokens for good any more.
    pub fn close_sessions(&self, sessions: &[SessionId]) {
        self.hub.close_sessions(sessions);
        #[cfg(feature = "redis")]
        if !sessions.is_empty() {
            self.hub.say(|| Word::Ended(sessions.iter().map(|session| session.0).collect()));
        }
    }

    /// How many users are connected, to this process and to the others that it hears of.
    pub fn connected_users(&self) -> usize {
        self.hub.connected_users()
    }

    /// Counters and gauges, for metrics.
    pub fn counters(&self) -> Counters {
        let (open, users) = self.hub.registry.count();
        let others = self.others();
        self.hub.counters.read(open, users, self.hub.transports.count(), others)
    }

    /// Whether the other processes are in reach; `None` if there are none to be reached.
    fn others(&self) -> Option<bool> {
        #[cfg(feature = "redis")]
        return self.hub.others.get().map(backplane::Backplane::is_up);
        #[cfg(not(feature = "redis"))]
        None
    }

    /// Takes no more connections and closes those that are open, spread over `spread`, so that their clients do not
    /// all come back at the same moment. To be run beside the stop of the HTTP server, which waits for them.
    pub async fn close(&self, spread: Duration) {
        self.hub.shut_down(spread).await;
    }
}

impl Notifier for SocketIoNotifier {
    fn notify(&self, event: LiveEvent) {
        let user = event.recipient();
        let sign = match (&event, Change::of(&event)) {
            (_, Some(change)) => Sign::Change(change),
            (LiveEvent::New(view), None) => Sign::New(Some(view.id)),
            (_, None) => return,
        };
        // First here: nothing that happens to Redis matters to this process.
        #[cfg(feature = "redis")]
        let word = Word::of(user, &sign);
        self.hub.tell(user, sign);
        #[cfg(feature = "redis")]
        self.hub.say(|| word);
    }
}

impl SessionObserver for SocketIoNotifier {
    fn ended(&self, sessions: &[SessionId]) {
        self.close_sessions(sessions);
    }
}
