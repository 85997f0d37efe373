//! What runs: use cases, and what works without being asked.

use std::{sync::Arc, time::Duration};

use application::{Services, accounts::REGISTRATION_LIFETIME};
use domain::clock::{Clock as _, SystemClock};
use tokio::{runtime::Handle, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{App, CLOUDINARY_TIMEOUT};

/// How often what nobody asks for any more is removed.
const SWEEP: Duration = Duration::from_mins(10);
const ORPHANS: Duration = Duration::from_secs(15);
/// How often the feed is made ready for pages far back.
const FEED: Duration = Duration::from_mins(1);

impl App {
    /// Runs a use case to its end, whatever becomes of the caller. Its panic is an error, and so is that it takes too
    /// long: a database that has stopped answering closes no connection.
    pub async fn run<T, F>(&self, work: impl FnOnce(Arc<Services>) -> F) -> domain::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        self.run_within(self.patience, work).await
    }

    /// Runs a use case that may send a file somewhere first.
    pub async fn run_with_file<T, F>(&self, work: impl FnOnce(Arc<Services>) -> F) -> domain::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        self.run_within(CLOUDINARY_TIMEOUT + self.patience, work).await
    }

    async fn run_within<T, F>(
        &self,
        patience: Duration,
        work: impl FnOnce(Arc<Services>) -> F,
    ) -> domain::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        let work = work(self.services.clone()).instrument(tracing::Span::current());
        let runtime = if self.is_local { Handle::current() } else { self.main.clone() };
        match tokio::time::timeout(patience, runtime.spawn(self.begun.track_future(work))).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) if error.is_panic() => Err(domain::Error::internal(error)),
            Ok(Err(error)) => Err(domain::Error::unavailable(error)), // the runtime is shutting down
            Err(late) => Err(domain::Error::unavailable(late)),
        }
    }

    /// Waits until every use case that has begun is done, also those whose clients have gone.
    pub async fn finished(&self) {
        self.begun.close();
        self.begun.wait().await;
    }

    /// Whether the database answers.
    pub async fn is_ready(&self) -> domain::Result<()> {
        let maintenance = self.maintenance.clone();
        self.run(|_| async move { maintenance.ready().await }).await
    }

    /// Starts what works without being asked: mails, media to delete, housekeeping.
    pub fn start_workers(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut workers = JoinSet::new();
        let (mails, token) = (self.mails.clone(), stop.clone());
        workers.spawn_on(async move { mails.run(token).await }, &self.main);
        let posts = self.services.posts.clone();
        workers.spawn_on(
            repeat(stop.clone(), ORPHANS, move || {
                let posts = posts.clone();
                async move { posts.delete_orphans().await.map(|_| ()) }
            }),
            &self.main,
        );
        let maintenance = self.maintenance.clone();
        let stopped = stop.clone();
        workers.spawn_on(
            repeat(stop.clone(), FEED, move || {
                let (maintenance, stopped) = (maintenance.clone(), stopped.clone());
                async move {
                    // In small steps, between which others write.
                    while !stopped.is_cancelled() && maintenance.maintain_feed_index().await? {}
                    Ok(())
                }
            }),
            &self.main,
        );
        let maintenance = self.maintenance.clone();
        workers.spawn_on(
            repeat(stop.clone(), SWEEP, move || {
                let maintenance = maintenance.clone();
                async move { maintenance.sweep(SystemClock.now() - REGISTRATION_LIFETIME).await.map(|_| ()) }
            }),
            &self.main,
        );
        workers
    }
}

/// Does `work` at once and then every `period`, until `stop`. What fails is tried again next time.
async fn repeat<F: Future<Output = domain::Result<()>>>(
    stop: CancellationToken,
    period: Duration,
    work: impl Fn() -> F,
) {
    while !stop.is_cancelled() {
        if let Err(error) = work().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "housekeeping failed and will be tried again"
            );
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(period) => {}
        }
    }
}
