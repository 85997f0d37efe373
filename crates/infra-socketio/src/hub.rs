//! What everything here shares.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use domain::{Error, Result, notifications::NotificationId, sessions::SessionId, users::UserId};
use engineioxide::service::NotFoundService;
use socketioxide::{SocketIo, service::SocketIoService, socket::Sid};
use tokio::{runtime::Handle, time::sleep};
use tower_service::Service;

#[cfg(feature = "redis")]
use crate::backplane::{Backplane, Word};
use crate::{
    SocketConfig, SocketUseCases,
    bridge::close_packet,
    channel::Sign,
    connection::{Connection, Sent},
    counters::Counts,
    events::{SessionExpiring, names},
    peers::Peers,
    registry::Registry,
    transport::{Transport, Transports},
};

pub(crate) type Engine = SocketIoService<NotFoundService>;

/// How often it is looked for tokens that expire.
const ROUND: Duration = Duration::from_secs(1);

/// How long a client that polls has for reading why it is refused.
const LAST_WORDS: Duration = Duration::from_millis(500);

pub(crate) struct Hub {
    pub(crate) config: SocketConfig,
    pub(crate) use_cases: Arc<dyn SocketUseCases>,
    pub(crate) runtime: Handle,
    pub(crate) engine: Engine,
    pub(crate) io: SocketIo,
    pub(crate) transports: Arc<Transports>,
    pub(crate) registry: Registry,
    pub(crate) peers: Peers,
    #[cfg(feature = "redis")]
    pub(crate) others: std::sync::OnceLock<Backplane>,
    pub(crate) counters: Counts,
    is_closing: AtomicBool,
}

impl Hub {
    pub(crate) fn new(config: SocketConfig, use_cases: Arc<dyn SocketUseCases>, runtime: Handle) -> Self {
        let (engine, io) = SocketIo::builder()
            .ping_interval(config.ping_interval)
            .ping_timeout(config.ping_timeout)
            .connect_timeout(config.connect_timeout)
            .upgrade_timeout(config.connect_timeout)
            .max_buffer_size(config.queue)
            .max_payload(config.max_message as u64)
            .ws_max_message_size(config.max_message)
            .ws_max_frame_size(config.max_message)
            // Clients say little: an idle one holds this for its next ping, more is taken in more reads.
            .ws_read_buffer_size(256)
            .build_svc();
        Self {
            config,
            use_cases,
            runtime,
            engine,
            io,
            transports: Arc::default(),
            registry: Registry::default(),
            peers: Peers::default(),
            #[cfg(feature = "redis")]
            others: std::sync::OnceLock::new(),
            counters: Counts::default(),
            is_closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Runs `work` on the runtime of the databases: their drivers do not bear to be dropped on an HTTP worker.
    pub(crate) async fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self.runtime.spawn(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::unavailable(error)),
        }
    }

    /// Runs `work` here, but what it starts on the main runtime, where sessions live: HTTP workers end before them.
    /// Only what happens inside of `work` counts, so the engine must be called there, not before.
    pub(crate) async fn inside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let _inside = self.runtime.enter();
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Closes a transport, so that its client comes back if it may. A disconnect packet would tell it not to.
    pub(crate) fn close(&self, transport: &Transport) {
        if transport.closed.is_cancelled() {
            return;
        }
        transport.closed.cancel();
        // A websocket ends the session with itself.
        if !transport.is_upgrading()
            && let Some(sid) = transport.sid()
        {
            self.end_polling(sid);
        }
    }

    /// Closes a transport once its client has had time to read its last words, and to leave by itself.
    pub(crate) fn close_soon(self: &Arc<Self>, transport: Arc<Transport>) {
        let hub = self.clone();
        self.runtime.spawn(async move {
            sleep(LAST_WORDS).await;
            hub.close(&transport);
        });
    }

    /// Ends a session of the engine, if it is polling.
    pub(crate) fn end_polling(&self, sid: Sid) {
        if let Some(packet) = close_packet(sid) {
            self.runtime.spawn(self.engine.clone().call(packet));
        }
    }

    /// Closes the connection of a client that does not keep up.
    pub(crate) fn settle(&self, connection: &Connection, sent: Sent) {
        if sent == Sent::TooSlow && !connection.transport.closed.is_cancelled() {
            tracing::info!(user.id = connection.user.0, "a client did not keep up and was disconnected");
            self.counters.too_slow.add();
            self.close(&connection.transport);
        }
    }

    /// Lets a connection that has all notifications up to `cursor` go live.
    pub(crate) async fn let_live(self: &Arc<Self>, connection: &Connection, cursor: NotificationId) {
        let (sent, missed) = connection.go_live(cursor, self.config.patience).await;
        if missed && sent == Sent::Yes {
            self.tell(connection.user, Sign::New(None));
        }
        self.settle(connection, sent);
    }

    /// Lets the connections of `user` in this process hear of something.
    pub(crate) fn tell(self: &Arc<Self>, user: UserId, sign: Sign) {
        if let Some(channel) = self.registry.channel(user) {
            channel.tell(self, sign);
        }
    }

    /// Closes the connections of ended sessions in this process.
    pub(crate) fn close_sessions(&self, sessions: &[SessionId]) {
        for connection in self.registry.end(sessions) {
            self.counters.revoked.add();
            self.close(&connection.transport);
        }
    }

    /// Tells the other processes, if there are any.
    #[cfg(feature = "redis")]
    pub(crate) fn say(&self, word: impl FnOnce() -> Word) {
        if let Some(others) = self.others.get() {
            others.say(word());
        }
    }

    /// Tells the other processes which connections a user has here now, and holds the user to their limit.
    pub(crate) fn note_presence(&self, user: UserId) {
        #[cfg(feature = "redis")]
        self.say(|| Word::Has(user.0, self.registry.times(user)));
        self.hold_to_limit(user);
    }

    /// Closes the oldest of a user's connections if with those to other processes they are too many. Each process
    /// closes its own; where two are of the same millisecond, one too many may stay.
    pub(crate) fn hold_to_limit(&self, user: UserId) {
        let Some(channel) = self.registry.channel(user) else { return };
        let elsewhere = self.peers.times(user);
        let leaving = channel.beyond(self.config.per_user, &elsewhere);
        for connection in &leaving {
            self.counters.evicted.add();
            self.close(&connection.transport);
            self.registry.leave(connection.id);
        }
        #[cfg(feature = "redis")]
        if !leaving.is_empty() {
            self.say(|| Word::Has(user.0, self.registry.times(user)));
        }
    }

    /// Over all processes that are heard of.
    pub(crate) fn connected_users(&self) -> usize {
        self.registry.count().1 + self.peers.count_except(|user| self.registry.channel(user).is_some())
    }

    /// Warns those whose tokens expire soon and closes those whose tokens have expired, for as long as it lives.
    pub(crate) fn watch_expiry(self: &Arc<Self>) {
        let hub = Arc::downgrade(self);
        self.runtime.spawn(async move {
            loop {
                sleep(ROUND).await;
                let Some(hub) = hub.upgrade() else { return };
                hub.expire();
            }
        });
    }

    fn expire(&self) {
        let now = Utc::now();
        for connection in self.registry.connections() {
            let (expires_at, is_news) = connection.expiry(now, self.config.expiry_warning);
            if expires_at <= now {
                self.counters.expired.add();
                self.close(&connection.transport);
            } else if is_news {
                let event = SessionExpiring::new(expires_at, now);
                self.settle(&connection, connection.send(names::SESSION_EXPIRING, &event));
            }
        }
    }

    /// Looks again at everything that may have been missed: notifications, and the ends of sessions.
    #[cfg(feature = "redis")]
    pub(crate) async fn catch_up(self: &Arc<Self>) {
        for channel in self.registry.channels() {
            channel.tell(self, Sign::New(None));
            // Not all at once: the database has other things to do.
            sleep(Duration::from_millis(1)).await;
        }
        for connection in self.registry.connections() {
            let session = connection.session();
            match self.use_cases.is_live(session).await {
                Ok(true) => {}
                Ok(false) => self.close_sessions(&[session]),
                Err(error) => tracing::warn!(%error, "it cannot be seen whether a session still lives"),
            }
        }
    }

    /// Closes everything, spread over some time, so that not all clients come back at the same moment.
    pub(crate) async fn shut_down(&self, spread: Duration) {
        self.is_closing.store(true, Ordering::Relaxed);
        #[cfg(feature = "redis")]
        self.say(|| Word::HasAll(Vec::new()));
        let connections = self.registry.connections();
        let pause = spread / u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        for connection in connections {
            self.close(&connection.transport);
            sleep(pause).await;
        }
        // Those that have not authenticated, and those that came meanwhile. A stuck one does not hold up the stop.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.io.close()).await;
    }
}
