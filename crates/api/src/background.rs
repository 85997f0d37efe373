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
    /// Starts the background workers on the current runtime. They run until `stop`.
    pub fn start_workers(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut workers = JoinSet::new();
        let (outbox, token) = (self.outbox.clone(), stop.clone());
        workers.spawn(async move { outbox.run(token).await });
        let media = self.services.media_cleanup.clone();
        let delete_orphans = async move || media.delete_orphans().await.map(drop);
        workers.spawn(repeat(stop.clone(), ORPHAN_INTERVAL, delete_orphans));
        let (maintenance, stopped) = (self.database.maintenance.clone(), stop.clone());
        let maintain_feed_index = async move || {
            // In small steps, so that other writes are not delayed.
            while !stopped.is_cancelled() && maintenance.maintain_feed_index().await? {}
            Ok(())
        };
        workers.spawn(repeat(stop.clone(), FEED_INDEX_INTERVAL, maintain_feed_index));
        let (maintenance, clock) = (self.database.maintenance.clone(), self.clock.clone());
        let delete_expired =
            async move || maintenance.delete_expired(clock.now() - REGISTRATION_LIFETIME).await.map(drop);
        workers.spawn(repeat(stop.clone(), SWEEP_INTERVAL, delete_expired));
        workers
    }
}

/// Runs `job` immediately and then every `interval`, until `stop`. A failed run is logged and retried after `interval`.
async fn repeat(stop: CancellationToken, interval: Duration, job: impl AsyncFn() -> domain::Result<()>) {
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
