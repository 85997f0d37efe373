//! Telling connected devices what has been committed.

use std::{sync::Arc, time::Duration};

use domain::{
    notifications::{Activity, LiveEvent, NotificationRemoved, NotificationView, Notifier},
    users::UserId,
};
use moka::sync::Cache;

/// For how long a deed that is taken back and done again stays quiet.
const QUIET: Duration = Duration::from_mins(1);

/// Passes events on, and keeps those quiet who toggle: at most one event a minute for the same like or follow.
#[derive(Clone)]
pub struct Live {
    notifier: Arc<dyn Notifier>,
    told: Cache<(UserId, UserId, Activity), ()>,
}

impl Live {
    /// Passes events on to `notifier`.
    pub fn new(notifier: Arc<dyn Notifier>) -> Self {
        Self { notifier, told: Cache::builder().max_capacity(100_000).time_to_live(QUIET).build() }
    }

    /// Tells of a new notification, if there is one.
    pub async fn tell(&self, notification: Option<NotificationView>) {
        let Some(notification) = notification else { return };
        let key = (notification.recipient, notification.actor, notification.activity);
        if self.told.entry(key).or_insert(()).is_fresh() {
            self.notifier.notify(LiveEvent::New(notification)).await;
        }
    }

    /// Tells that a notification is gone, if one is.
    pub async fn withdraw(&self, removed: Option<NotificationRemoved>) {
        if let Some(removed) = removed {
            self.notifier.notify(LiveEvent::Deleted(removed)).await;
        }
    }

    /// Tells anything else.
    pub async fn notify(&self, event: LiveEvent) {
        self.notifier.notify(event).await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{
        notifications::{MockNotifier, NotificationId},
        posts::PostId,
    };

    use super::*;

    fn told(id: i64, activity: Activity) -> NotificationView {
        NotificationView {
            id: NotificationId(id),
            recipient: UserId(1),
            actor: UserId(2),
            actor_username: "ann".into(),
            activity,
            is_read: false,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn the_same_deed_is_told_once_a_minute() {
        let mut notifier = MockNotifier::new();
        notifier.expect_notify().times(2).returning(|_| ());
        let live = Live::new(Arc::new(notifier));
        live.tell(Some(told(1, Activity::Follow))).await;
        live.tell(Some(told(2, Activity::Follow))).await;
        live.tell(Some(told(3, Activity::Like(PostId(1))))).await;
        live.tell(None).await;
    }
}
