//! What delivery needs: the repository, and the engine that closes transports.

use std::{sync::Arc, time::Duration};

use domain::{
    Result,
    notifications::{NotificationId, NotificationRepository, NotificationView},
    page::{PageNumber, PageRequest, PageSize, PageStart},
    users::UserId,
};
use tokio::time::sleep;

use crate::{
    delivery::connection::{Connection, SendOutcome},
    engine::shared::Engine,
};

/// Delay before a failed read is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The collaborators of delivery.
pub(crate) struct DeliveryContext {
    pub(crate) engine: Arc<Engine>,
    pub(crate) notifications: Arc<dyn NotificationRepository>,
}

/// The state of a user's notifications.
pub(crate) struct UnreadState {
    pub(crate) unread_count: i64,
    /// The newest notification; 0 if there is none.
    pub(crate) newest: NotificationId,
}

impl DeliveryContext {
    /// Reads the notifications of `user` above `since`, oldest first, at most `limit`.
    pub(crate) async fn read_since(
        &self,
        user: UserId,
        since: NotificationId,
        limit: usize,
    ) -> Result<Vec<NotificationView>> {
        self.notifications.since(user, since, i64::try_from(limit).unwrap_or(i64::MAX)).await
    }

    /// Like `read_since`, but returns `None` after a delay if the database fails, for callers that try again.
    pub(crate) async fn try_read_since(
        &self,
        user: UserId,
        since: NotificationId,
        limit: usize,
    ) -> Option<Vec<NotificationView>> {
        match self.read_since(user, since, limit).await {
            Ok(rows) => Some(rows),
            Err(error) => {
                tracing::warn!(user.id = user.0, %error, "failed to read new notifications, retrying");
                sleep(RETRY_DELAY).await;
                None
            }
        }
    }

    /// Reads the newest notification of `user` and the number of unread ones.
    pub(crate) async fn unread_state(&self, user: UserId) -> Result<UnreadState> {
        let newest = PageRequest { start: PageStart::Page(PageNumber::FIRST), size: PageSize::ONE };
        let found = self.notifications.list(user, false, newest).await?;
        let newest = found.page.items.first().map_or(NotificationId(0), |newest| newest.id);
        Ok(UnreadState { unread_count: found.unread_count, newest })
    }

    /// Closes the connection of a client that does not read fast enough.
    pub(crate) fn close_if_too_slow(&self, connection: &Connection, outcome: SendOutcome) {
        if outcome == SendOutcome::QueueFull && !connection.transport.closed.is_cancelled() {
            tracing::info!(
                user.id = connection.user.0,
                "closed the connection of a client that reads too slowly"
            );
            self.engine.metrics.counters().too_slow += 1;
            self.engine.close(&connection.transport);
        }
    }
}
