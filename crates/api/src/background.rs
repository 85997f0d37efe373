//! Background workers: the mail outbox, deletion of orphaned media, the feed index, and housekeeping.

use std::time::Duration;

use application::accounts::REGISTRATION_LIFETIME;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::state::AppState;

/// How often expired rows are deleted.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);
/// How often likes, comments and notifications of deleted posts are looked for. Those of most posts are deleted with them.
const REMAINS_INTERVAL: Duration = Duration::from_secs(5);
const ORPHAN_INTERVAL: Duration = Duration::from_secs(15);
/// How often the counts of the feed index get the changes of the last seconds, which slow the feed down a little.
const FEED_CHANGES_INTERVAL: Duration = Duration::from_secs(2);
const FEED_CHECK_INTERVAL: Duration = Duration::from_mins(1);
/// How long a list may show the old name of a user who was renamed, in all processes.
const USER_CHANGES_INTERVAL: Duration = Duration::from_secs(2);

impl AppState {
    /// Starts the background workers on the current runtime. They run until `stop`.
    pub fn start_workers(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut workers = JoinSet::new();
        let (outbox, token) = (self.outbox.clone(), stop.clone());
        workers.spawn(async move { outbox.run(token).await });
        let media = self.services.media_cleanup.clone();
        let delete_orphans = async move || media.delete_orphans().await.map(drop);
        workers.spawn(repeat(stop.clone(), ORPHAN_INTERVAL, delete_orphans));
        let maintenance = self.database.maintenance.clone();
        let count_feed_changes = async move || maintenance.count_feed_changes().await;
        workers.spawn(repeat(stop.clone(), FEED_CHANGES_INTERVAL, count_feed_changes));
        let maintenance = self.database.maintenance.clone();
        let check_feed_index = async move || maintenance.check_feed_index().await;
        workers.spawn(repeat(stop.clone(), FEED_CHECK_INTERVAL, check_feed_index));
        let (maintenance, clock) = (self.database.maintenance.clone(), self.clock.clone());
        let forget_changed_users = async move || maintenance.forget_changed_users(clock.now()).await;
        workers.spawn(repeat(stop.clone(), USER_CHANGES_INTERVAL, forget_changed_users));
        let (maintenance, clock) = (self.database.maintenance.clone(), self.clock.clone());
        let delete_expired =
            async move || maintenance.delete_expired(clock.now() - REGISTRATION_LIFETIME).await.map(drop);
        workers.spawn(repeat(stop.clone(), SWEEP_INTERVAL, delete_expired));
        let (maintenance, stopping) = (self.database.maintenance.clone(), stop.clone());
        let delete_remains = async move || {
            while !stopping.is_cancelled() && maintenance.delete_remains().await? {}
            Ok(())
        };
        workers.spawn(repeat(stop.clone(), REMAINS_INTERVAL, delete_remains));
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
