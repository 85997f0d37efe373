//! Background workers: the mail outbox, deletion of orphaned media, the feed index, and housekeeping.

use std::time::Duration;

use application::accounts::REGISTRATION_LIFETIME;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::state::AppState;

/// How often expired rows are deleted.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);
const ORPHAN_INTERVAL: Duration = Duration::from_secs(15);
const FEED_INDEX_INTERVAL: Duration = Duration::from_mins(1);

impl AppState {
    /// Starts the background workers, which run until `stop`.
    pub fn start_workers(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut workers = JoinSet::new();
        let (outbox, token) = (self.outbox.clone(), stop.clone());
        workers.spawn_on(async move { outbox.run(token).await }, &self.main_runtime);
        let media = self.services.media_cleanup.clone();
        workers.spawn_on(
            repeat(stop.clone(), ORPHAN_INTERVAL, move || {
                let media = media.clone();
                async move { media.delete_orphans().await.map(|_| ()) }
            }),
            &self.main_runtime,
        );
        let maintenance = self.database.maintenance.clone();
        let stopped = stop.clone();
        workers.spawn_on(
            repeat(stop.clone(), FEED_INDEX_INTERVAL, move || {
                let (maintenance, stopped) = (maintenance.clone(), stopped.clone());
                async move {
                    // In small steps, so that other writes are not delayed.
                    while !stopped.is_cancelled() && maintenance.maintain_feed_index().await? {}
                    Ok(())
                }
            }),
            &self.main_runtime,
        );
        let (maintenance, clock) = (self.database.maintenance.clone(), self.clock.clone());
        workers.spawn_on(
            repeat(stop.clone(), SWEEP_INTERVAL, move || {
                let (maintenance, clock) = (maintenance.clone(), clock.clone());
                async move { maintenance.delete_expired(clock.now() - REGISTRATION_LIFETIME).await.map(|_| ()) }
            }),
            &self.main_runtime,
        );
        workers
    }
}

/// Runs `job` immediately and then every `interval`, until `stop`. A failed run is logged and retried after `interval`.
async fn repeat<F: Future<Output = domain::Result<()>>>(
    stop: CancellationToken,
    interval: Duration,
    job: impl Fn() -> F,
) {
    while !stop.is_cancelled() {
        if let Err(error) = job().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "background job failed and will be retried"
            );
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}
