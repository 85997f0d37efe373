//! What handlers use, and how they run use cases.

use std::{net::IpAddr, sync::Arc, time::Duration};

use application::{
    Services, keyed_hash::KeyedHash, outbox::OutboxService, passwords::Requester,
    rate_limit::RateLimitService, sessions::Caller, tokens::AccessClaims,
};
use domain::{clock::Clock, health::HealthRepository};
use infra_diesel::Database;
use infra_disk::DiskStore;
use infra_smtp::DevInbox;
use infra_socketio::{ConnectionTimeouts, SocketServer};
use ipnet::IpNet;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::{
    config::CLOUDINARY_TIMEOUT,
    pagination::Cursors,
    request::{BodyLimits, Budget},
    routes::operations::Readiness,
    telemetry::metrics::Metrics,
};

/// Everything that handlers use.
#[derive(Clone)]
pub struct AppState {
    /// The use cases.
    pub services: Arc<Services>,
    /// Makes the use cases on another handle of the database.
    pub make_services: Arc<dyn Fn(&Database) -> Services + Send + Sync>,
    /// The database, as the use cases use it.
    pub database: Database,
    /// Readiness and the backlog of the database. The same for all workers.
    pub health: Arc<dyn HealthRepository>,
    /// The last outcome of a check of the readiness.
    pub(crate) readiness: Readiness,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Encodes and decodes list cursors.
    pub cursors: Cursors,
    /// Signs the URLs of private media.
    pub secrets: KeyedHash,
    /// Base URL under which clients reach this server. `None`: derived from each request.
    pub public_url: Option<Arc<str>>,
    /// Limits of request bodies.
    pub bodies: BodyLimits,
    /// Bounds the HTTP connections, in total and for each client address.
    pub connections: Budget<IpAddr>,
    /// Timeouts of HTTP connections.
    pub connection_timeouts: ConnectionTimeouts,
    /// The development inbox. `None` if mail is sent by SMTP.
    pub inbox: Option<DevInbox>,
    /// The connected Socket.IO clients.
    pub sockets: SocketServer,
    /// The local media store. `None` if media is stored elsewhere.
    pub disk: Option<DiskStore>,
    /// Rate limits.
    pub limits: RateLimitService,
    /// Networks of trusted proxies (`X-Forwarded-For`).
    pub trusted_proxies: Vec<IpNet>,
    /// `None` if metrics are not served.
    pub metrics: Option<Arc<Metrics>>,
    /// How long a request waits for a use case.
    pub(crate) use_case_timeout: Duration,
    /// The runtime of the use cases: the HTTP worker's if it has a database handle of its own, else the main one.
    pub(crate) use_case_runtime: Handle,
    pub(crate) running: TaskTracker,
    pub(crate) outbox: OutboxService,
}

impl AppState {
    /// Returns the state for the HTTP worker that calls this. Its use cases run on its own thread and connections, unless
    /// the database has too few of them.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        let Some(database) = self.database.for_worker() else { return self.clone() };
        let services = Arc::new((self.make_services)(&database));
        Self { services, database, use_case_runtime: Handle::current(), ..self.clone() }
    }

    /// Runs a use case to its end, even if the client disconnects: a write that has begun is completed, and no database
    /// connection is dropped in the middle of a statement.
    ///
    /// # Errors
    /// Those of the use case; `Internal` if it panics; `Unavailable` if it takes longer than the timeout, since a
    /// database that has stopped responding does not close its connections.
    pub async fn run<T, F>(&self, use_case: impl FnOnce(Arc<Services>) -> F) -> domain::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        let task = use_case(self.services.clone()).instrument(tracing::Span::current());
        let task = self.use_case_runtime.spawn(self.running.track_future(task));
        match tokio::time::timeout(self.use_case_timeout, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) if error.is_panic() => Err(domain::Error::internal(error)),
            Ok(Err(error)) => Err(domain::Error::unavailable(error)), // the runtime is shutting down
            Err(elapsed) => Err(domain::Error::unavailable(elapsed)),
        }
    }

    /// As [`run`](Self::run), for a client whose passwords are hashed: the use case learns when the client has left or has
    /// been answered.
    pub(crate) async fn run_for<T, F>(
        &self,
        address: IpAddr,
        use_case: impl FnOnce(Arc<Services>, Requester) -> F,
    ) -> domain::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        let gone = CancellationToken::new();
        let requester = Requester { address, gone: gone.clone() };
        // Dropped at the end, and also when the client disconnects.
        let _guard = gone.drop_guard();
        self.run(|services| use_case(services, requester)).await
    }

    /// Returns the caller of an access token: a verified and active user with a live session.
    ///
    /// # Errors
    /// 401 or 403 of the contract; `Unavailable` as for [`run`](Self::run).
    pub(crate) async fn authenticate(&self, claims: AccessClaims) -> domain::Result<Caller> {
        match self.services.sessions.authenticate_cached(&claims)? {
            Some(caller) => Ok(caller),
            None => {
                self.run(|services| async move { services.sessions.authenticate_claims(claims).await }).await
            }
        }
    }

    /// As [`run`](Self::run), with additional time to upload a file.
    pub async fn run_with_upload<T, F>(&self, use_case: impl FnOnce(Arc<Services>) -> F) -> domain::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        let use_case_timeout = self.use_case_timeout + CLOUDINARY_TIMEOUT;
        Self { use_case_timeout, ..self.clone() }.run(use_case).await
    }

    /// Waits until every running use case has completed, including those whose clients have disconnected.
    pub async fn wait_for_use_cases(&self) {
        self.running.close();
        self.running.wait().await;
    }
}
