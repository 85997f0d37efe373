//! Reading notifications.

use std::sync::Arc;

use domain::{
    Error, Result,
    notifications::{
        LiveEvent, MissedNotifications, NotificationId, NotificationPage, NotificationRepository,
        NotificationView,
    },
    page::{PageNumber, PageRequest, PageSize, PageStart},
    users::UserId,
};

use crate::live::Live;

/// Reading notifications.
#[derive(Clone)]
pub struct NotificationService {
    /// Where they are.
    pub notifications: Arc<dyn NotificationRepository>,
    /// Who hears of it.
    pub live: Live,
}

impl NotificationService {
    /// A page of one's notifications.
    pub async fn list(&self, user: UserId, unread_only: bool, page: PageRequest) -> Result<NotificationPage> {
        self.notifications.list(user, unread_only, page).await
    }

    /// What one has missed since the notification `since`, `limit` at most.
    pub async fn missed(
        &self,
        user: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<MissedNotifications> {
        let (_, unread_count) = self.unread_state(user).await?;
        let mut notifications = self.since(user, since, limit + 1).await?;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let truncated = notifications.len() > most;
        notifications.truncate(most);
        Ok(MissedNotifications { notifications, truncated, unread_count })
    }

    /// Those with ids above `since`, smallest id first, `limit` at most.
    pub async fn since(
        &self,
        user: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<Vec<NotificationView>> {
        self.notifications.since(user, since, limit).await
    }

    /// The newest of one's notifications, if there is any, and how many are unread.
    pub async fn unread_state(&self, user: UserId) -> Result<(Option<NotificationId>, i64)> {
        let newest = PageRequest { start: PageStart::Page(PageNumber::FIRST), size: PageSize::ONE };
        let found = self.notifications.list(user, false, newest).await?;
        Ok((found.page.items.first().map(|newest| newest.id), found.unread_count))
    }

    /// Marks one as read; repeating is fine.
    pub async fn mark_read(&self, user: UserId, id: NotificationId) -> Result<()> {
        let marked = self.notifications.mark_read(user, id).await?.ok_or(Error::NOTIFICATION_NOT_FOUND)?;
        if marked.changed > 0 {
            let unread_count = marked.unread_count;
            self.live.notify(LiveEvent::Read { recipient: user, id: Some(id), unread_count }).await;
        }
        Ok(())
    }

    /// Marks all as read.
    pub async fn mark_all_read(&self, user: UserId) -> Result<()> {
        let marked = self.notifications.mark_all_read(user).await?;
        if marked.changed > 0 {
            let unread_count = marked.unread_count;
            self.live.notify(LiveEvent::Read { recipient: user, id: None, unread_count }).await;
        }
        Ok(())
    }

    /// Deletes one.
    pub async fn delete(&self, user: UserId, id: NotificationId) -> Result<()> {
        let removed = self.notifications.delete(user, id).await?.ok_or(Error::NOTIFICATION_NOT_FOUND)?;
        self.live.withdraw(Some(removed)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domain::notifications::{MarkedRead, MockNotificationRepository, MockNotifier};

    use super::*;

    #[tokio::test]
    async fn anothers_notification_is_not_found() {
        let mut notifications = MockNotificationRepository::new();
        notifications.expect_mark_read().returning(|_, _| Ok(None));
        notifications.expect_delete().returning(|_, _| Ok(None));
        let live = Live::new(Arc::new(MockNotifier::new()));
        let service = NotificationService { notifications: Arc::new(notifications), live };
        let (user, id) = (UserId(1), NotificationId(2));
        assert_eq!(service.mark_read(user, id).await, Err(Error::NOTIFICATION_NOT_FOUND));
        assert_eq!(service.delete(user, id).await, Err(Error::NOTIFICATION_NOT_FOUND));
    }

    #[tokio::test]
    async fn other_devices_hear_of_what_changed_and_of_nothing_else() {
        let mut notifications = MockNotificationRepository::new();
        let mut changed = [0, 1].into_iter().rev();
        notifications.expect_mark_read().returning(move |_, _| {
            Ok(Some(MarkedRead { changed: changed.next().unwrap_or(0), unread_count: 4 }))
        });
        let mut notifier = MockNotifier::new();
        let expected = LiveEvent::Read { recipient: UserId(1), id: Some(NotificationId(2)), unread_count: 4 };
        notifier.expect_notify().withf(move |event| *event == expected).once().returning(|_| ());
        let live = Live::new(Arc::new(notifier));
        let service = NotificationService { notifications: Arc::new(notifications), live };
        for _ in 0..2 {
            service.mark_read(UserId(1), NotificationId(2)).await.unwrap();
        }
    }
}
