//! A server around the sockets, with use cases that remember everything in memory.

use std::{
    collections::HashSet,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
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
    notifications::{Activity, LiveEvent, NotificationId, NotificationView, Notifier},
    posts::PostId,
    sessions::SessionId,
    users::UserId,
};
use infra_socketio::{Patience, SocketCaller, SocketConfig, SocketIoNotifier, SocketUseCases, UnreadState};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::{Instant, sleep},
};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An access token as the use cases below know it.
pub(crate) fn token(user: i64, session: i64) -> String {
    token_for(user, session, 3600)
}

/// One that expires in so many seconds.
pub(crate) fn token_for(user: i64, session: i64, seconds: i64) -> String {
    format!("{user}.{session}.{}", (Utc::now() + TimeDelta::seconds(seconds)).timestamp_millis())
}

/// Users are whoever a token says.
#[derive(Default)]
pub(crate) struct Memory {
    rows: Mutex<Vec<NotificationView>>,
    ended: Mutex<HashSet<SessionId>>,
    /// What other processes have ended.
    pub(crate) revoked: Mutex<Vec<SessionId>>,
    ids: AtomicI64,
    pub(crate) reads: AtomicI64,
}

impl Memory {
    /// Stores a notification, as a use case would before it tells the notifier.
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

    pub(crate) fn end(&self, session: i64) {
        self.ended.lock().unwrap().insert(SessionId(session));
    }
}

#[async_trait]
impl SocketUseCases for Memory {
    async fn authenticate(&self, token: String) -> Result<SocketCaller> {
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
        Ok(SocketCaller { user: UserId(user), session, expires_at })
    }

    async fn is_live(&self, session: SessionId) -> Result<bool> {
        Ok(!self.ended.lock().unwrap().contains(&session))
    }

    fn revoked(&self, sessions: &[SessionId]) {
        self.revoked.lock().unwrap().extend(sessions);
    }

    async fn unread_state(&self, user: UserId) -> Result<UnreadState> {
        assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread);
        let rows = self.rows.lock().unwrap();
        let mine = rows.iter().filter(|row| row.recipient == user);
        Ok(UnreadState {
            unread_count: i64::try_from(mine.clone().count()).unwrap(),
            latest: mine.map(|row| row.id).max().unwrap_or(NotificationId(0)),
        })
    }

    async fn missed_since(
        &self,
        user: UserId,
        since: NotificationId,
        limit: usize,
    ) -> Result<Vec<NotificationView>> {
        assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread);
        self.reads.fetch_add(1, Ordering::Relaxed);
        let rows: Vec<_> = {
            let rows = self.rows.lock().unwrap();
            rows.iter().filter(|row| row.recipient == user && row.id > since).take(limit).cloned().collect()
        };
        // What was read grows old before it is used, as with a real database.
        sleep(Duration::from_millis(1)).await;
        Ok(rows)
    }
}

/// A running server. It stops when it is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) notifier: SocketIoNotifier,
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
        let notifier = SocketIoNotifier::new(config, memory.clone(), Handle::current()).unwrap();
        let mounted = notifier.clone();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Patience { request: Duration::from_secs(5), stalled: Duration::from_secs(5) };
        let server = Server::build().workers(2).disable_signals();
        let server = infra_socketio::listen(server, listener, patience, move || {
            App::new().wrap(NormalizePath::new(TrailingSlash::Trim)).service(mounted.resource())
        });
        let server = server.unwrap().run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { address, notifier, memory, handle }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stores a notification and tells it; its id.
    pub(crate) fn like(&self, recipient: i64, post: i64) -> i64 {
        let row = self.memory.store(recipient, Activity::Like(PostId(post)));
        let id = row.id.0;
        self.notifier.notify(LiveEvent::New(row));
        id
    }

    /// Waits until the counters show something.
    pub(crate) async fn until(&self, what: &str, shows: impl Fn(infra_socketio::Counters) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !shows(self.notifier.counters()) {
            assert!(Instant::now() < deadline, "not {what}: {:?}", self.notifier.counters());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The signal is sent when it is called; nobody has to wait.
        drop(self.handle.stop(false));
    }
}
