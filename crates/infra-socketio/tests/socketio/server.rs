//! A server around the sockets, with sessions and notifications in memory.

use std::{
    collections::HashSet,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App,
    dev::{Server, ServerHandle},
    middleware::{NormalizePath, TrailingSlash},
};
use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use domain::{
    Error, Result,
    clock::SystemClock,
    notifications::{
        Activity, LiveEvent, MarkedRead, NotificationId, NotificationPage, NotificationRemoved,
        NotificationRepository, NotificationView, Notifier,
    },
    page::{Page, PageRequest},
    posts::PostId,
    sessions::{Caller, SessionAuthenticator, SessionId},
    users::UserId,
};
use infra_socketio::{ConnectionTimeouts, LiveNotifier, MetricsSnapshot, SocketConfig, SocketServer};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::{Instant, sleep},
};

/// Maximum time for anything in a test.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// An access token of the sessions below.
pub(crate) fn token(user: i64, session: i64) -> String {
    token_for(user, session, 3600)
}

/// An access token that expires in some seconds.
pub(crate) fn token_for(user: i64, session: i64, seconds: i64) -> String {
    format!("{user}.{session}.{}", (Utc::now() + TimeDelta::seconds(seconds)).timestamp_millis())
}

/// Notifications and sessions. A token names its user and session.
#[derive(Default)]
pub(crate) struct Memory {
    rows: Mutex<Vec<NotificationView>>,
    ended: Mutex<HashSet<SessionId>>,
    /// The sessions that the server marked as ended.
    pub(crate) marked_ended: Mutex<Vec<SessionId>>,
    reads: AtomicUsize,
    ids: AtomicI64,
}

impl Memory {
    /// Stores a notification, as a use case does before it notifies.
    pub(crate) fn store(&self, recipient: i64, activity: Activity) -> NotificationView {
        let mut rows = self.rows.lock().unwrap();
        let row = NotificationView {
            id: NotificationId(self.ids.fetch_add(1, Ordering::Relaxed) + 1),
            recipient: UserId(recipient),
            actor: UserId(99),
            actor_username: "ann".into(),
            activity,
            is_read: false,
            created_at: Utc::now(),
        };
        rows.push(row.clone());
        row
    }

    fn remove(&self, id: i64) -> NotificationRemoved {
        let mut rows = self.rows.lock().unwrap();
        let at = rows.iter().position(|row| row.id.0 == id).unwrap();
        let row = rows.remove(at);
        NotificationRemoved { recipient: row.recipient, id: row.id, unread_count: 0 }
    }

    /// Ends a session in the repository.
    pub(crate) fn end(&self, session: i64) {
        self.ended.lock().unwrap().insert(SessionId(session));
    }

    /// Returns how often new notifications were read.
    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn of(&self, user: UserId) -> Vec<NotificationView> {
        assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread);
        let rows = self.rows.lock().unwrap();
        rows.iter().filter(|row| row.recipient == user).cloned().collect()
    }
}

#[async_trait]
impl SessionAuthenticator for Memory {
    async fn authenticate(&self, token: String) -> Result<Caller> {
        assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread);
        let parts: Vec<i64> = token.split('.').filter_map(|part| part.parse().ok()).collect();
        let &[user, session, expires] = parts.as_slice() else { return Err(Error::INVALID_TOKEN) };
        let expires_at = chrono::DateTime::from_timestamp_millis(expires).unwrap();
        let session = SessionId(session);
        if expires_at <= Utc::now() || self.ended.lock().unwrap().contains(&session) {
            return Err(Error::INVALID_TOKEN);
        }
        if user == 13 {
            return Err(Error::NOT_VERIFIED);
        }
        Ok(Caller { user: UserId(user), session, expires_at })
    }

    async fn find_ended(&self, mut sessions: Vec<SessionId>) -> Result<Vec<SessionId>> {
        let ended = self.ended.lock().unwrap();
        sessions.retain(|session| ended.contains(session));
        Ok(sessions)
    }

    fn has_ended(&self, session: SessionId) -> bool {
        self.marked_ended.lock().unwrap().contains(&session)
    }

    fn mark_ended(&self, sessions: &[SessionId]) {
        self.marked_ended.lock().unwrap().extend(sessions);
    }
}

#[async_trait]
impl NotificationRepository for Memory {
    async fn list(&self, recipient: UserId, _: bool, page: PageRequest) -> Result<NotificationPage> {
        let mut items = self.of(recipient);
        let total = i64::try_from(items.len()).unwrap();
        items.reverse();
        let page = Page::from_rows(items, total, page.size, |one| one.id.0);
        Ok(NotificationPage { page, unread_count: total })
    }

    async fn since(
        &self,
        recipient: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<Vec<NotificationView>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let rows = self.of(recipient).into_iter().filter(|row| row.id > since);
        let rows = rows.take(usize::try_from(limit).unwrap()).collect();
        // What was read is outdated before it is used, as with a real database.
        sleep(Duration::from_millis(1)).await;
        Ok(rows)
    }

    async fn mark_read(&self, _: UserId, _: NotificationId) -> Result<Option<MarkedRead>> {
        unreachable!("the sockets only read")
    }

    async fn mark_all_read(&self, _: UserId) -> Result<MarkedRead> {
        unreachable!("the sockets only read")
    }

    async fn delete(&self, _: UserId, _: NotificationId) -> Result<Option<NotificationRemoved>> {
        unreachable!("the sockets only read")
    }
}

/// A running server. It stops when it is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) notifier: LiveNotifier,
    pub(crate) sockets: SocketServer,
    pub(crate) memory: Arc<Memory>,
    handle: ServerHandle,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::start_with(SocketConfig::default())
    }

    pub(crate) fn start_with(config: SocketConfig) -> Self {
        Self::start_on(config, Arc::default())
    }

    pub(crate) fn start_on(config: SocketConfig, memory: Arc<Memory>) -> Self {
        let (notifier, signals) = infra_socketio::signal_queue();
        let sockets =
            SocketServer::start(signals, config, memory.clone(), memory.clone(), Arc::new(SystemClock))
                .unwrap();
        let mounted = sockets.clone();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let timeouts = ConnectionTimeouts {
            request_head: Duration::from_secs(5),
            unacknowledged: Duration::from_secs(5),
            unread: Duration::from_secs(5),
        };
        let server = Server::build().workers(2).disable_signals();
        let server = infra_socketio::listen(
            server,
            listener,
            timeouts,
            |_| Some(()),
            move || App::new().wrap(NormalizePath::new(TrailingSlash::Trim)).service(mounted.resource()),
        );
        let server = server.unwrap().run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { address, notifier, sockets, memory, handle }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stores a notification and announces it; returns its id.
    pub(crate) fn like(&self, recipient: i64, post: i64) -> i64 {
        let row = self.memory.store(recipient, Activity::Like(PostId(post)));
        let id = row.id.0;
        self.notifier.notify(LiveEvent::New(row));
        id
    }

    /// Deletes a notification and announces it.
    pub(crate) fn unlike(&self, id: i64) {
        self.notifier.notify(LiveEvent::Deleted(self.memory.remove(id)));
    }

    /// Waits until the metrics have some values.
    pub(crate) async fn until(&self, expected: &str, matches: impl Fn(MetricsSnapshot) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !matches(self.sockets.metrics()) {
            assert!(Instant::now() < deadline, "not {expected}: {:?}", self.sockets.metrics());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The signal is sent when `stop` is called; nothing needs to await it.
        drop(self.handle.stop(false));
    }
}
