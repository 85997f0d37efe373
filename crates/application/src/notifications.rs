//! Notifications of a user: list, mark as read, delete.

use std::sync::Arc;

use domain::{
    Error, Result,
    notifications::{
        LiveEvent, MissedNotifications, NotificationId, NotificationPage, NotificationRepository, Notifier,
    },
    page::{PageNumber, PageRequest, PageSize, PageStart},
    users::UserId,
};

/// Notifications of a user: list, mark as read, delete.
#[derive(Clone)]
pub struct NotificationService {
    /// Stores notifications.
    pub notifications: Arc<dyn NotificationRepository>,
    /// Announces changes to connected clients.
    pub notifier: Arc<dyn Notifier>,
}

impl NotificationService {
    /// Returns a page of the user's notifications.
    pub async fn list(&self, user: UserId, unread_only: bool, page: PageRequest) -> Result<NotificationPage> {
        self.notifications.list(user, unread_only, page).await
    }

    /// Returns the user's notifications with ids above `since`, oldest first, at most `limit`.
    pub async fn missed(
        &self,
        user: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<MissedNotifications> {
        let newest = PageRequest { start: PageStart::Page(PageNumber::FIRST), size: PageSize::ONE };
        let unread_count = self.notifications.list(user, false, newest).await?.unread_count;
        let mut notifications = self.notifications.since(user, since, limit + 1).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let truncated = notifications.len() > limit;
        notifications.truncate(limit);
        Ok(MissedNotifications { notifications, truncated, unread_count })
    }

    /// Marks a notification as read. Idempotent.
    pub async fn mark_read(&self, user: UserId, id: NotificationId) -> Result<()> {
        let marked = self.notifications.mark_read(user, id).await?.ok_or(Error::NOTIFICATION_NOT_FOUND)?;
        if marked.changed > 0 {
            let unread_count = marked.unread_count;
            self.notifier.notify(LiveEvent::Read { recipient: user, id: Some(id), unread_count });
        }
        Ok(())
    }

    /// Marks all notifications of the user as read.
    pub async fn mark_all_read(&self, user: UserId) -> Result<()> {
        let marked = self.notifications.mark_all_read(user).await?;
        if marked.changed > 0 {
            let unread_count = marked.unread_count;
            self.notifier.notify(LiveEvent::Read { recipient: user, id: None, unread_count });
        }
        Ok(())
    }

    /// Deletes a notification.
    pub async fn delete(&self, user: UserId, id: NotificationId) -> Result<()> {
        let removed = self.notifications.delete(user, id).await?.ok_or(Error::NOTIFICATION_NOT_FOUND)?;
        self.notifier.notify(LiveEvent::Deleted(removed));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domain::notifications::{MarkedRead, MockNotificationRepository, MockNotifier};

    use super::*;

    #[tokio::test]
    async fn notification_of_another_user_is_not_found() {
        let mut notifications = MockNotificationRepository::new();
        notifications.expect_mark_read().returning(|_, _| Ok(None));
        notifications.expect_delete().returning(|_, _| Ok(None));
        let notifier = Arc::new(MockNotifier::new());
        let service = NotificationService { notifications: Arc::new(notifications), notifier };
        let (user, id) = (UserId(1), NotificationId(2));
        assert_eq!(service.mark_read(user, id).await, Err(Error::NOTIFICATION_NOT_FOUND));
        assert_eq!(service.delete(user, id).await, Err(Error::NOTIFICATION_NOT_FOUND));
    }

    #[tokio::test]
    async fn mark_read_notifies_only_if_something_changed() {
        let mut notifications = MockNotificationRepository::new();
        let mut changed = [0, 1].into_iter().rev();
        notifications.expect_mark_read().returning(move |_, _| {
            Ok(Some(MarkedRead { changed: changed.next().unwrap_or(0), unread_count: 4 }))
        });
        let mut notifier = MockNotifier::new();
        let expected = LiveEvent::Read { recipient: UserId(1), id: Some(NotificationId(2)), unread_count: 4 };
        notifier.expect_notify().withf(move |event| *event == expected).once().returning(|_| ());
        let notifier = Arc::new(notifier);
        let service = NotificationService { notifications: Arc::new(notifications), notifier };
        for _ in 0..2 {
            service.mark_read(UserId(1), NotificationId(2)).await.unwrap();
        }
    }
}
