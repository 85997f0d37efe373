//! Notifications.

use async_trait::async_trait;
use domain::{
    Result,
    notifications::{
        MarkedRead, NotificationId, NotificationPage, NotificationRemoved, NotificationRepository,
        NotificationView,
    },
    page::PageRequest,
    users::UserId,
};

use super::store::{InMemory, Tables, paginate};

impl Tables {
    fn mark_read(&mut self, recipient: UserId, matches: impl Fn(&NotificationView) -> bool) -> MarkedRead {
        let mut changed = 0;
        for one in self.notifications.values_mut() {
            if one.recipient == recipient && !one.is_read && matches(one) {
                one.is_read = true;
                changed += 1;
            }
        }
        MarkedRead { changed, unread_count: self.unread_count(recipient) }
    }
}

#[async_trait]
impl NotificationRepository for InMemory {
    async fn list(
        &self,
        recipient: UserId,
        unread_only: bool,
        page: PageRequest,
    ) -> Result<NotificationPage> {
        let tables = self.lock();
        let is_listed = |one: &&NotificationView| one.recipient == recipient && !(unread_only && one.is_read);
        let list = tables.notifications.values().filter(is_listed).cloned().collect();
        let page = paginate(list, page, |notification| notification.id.0);
        Ok(NotificationPage { page, unread_count: tables.unread_count(recipient) })
    }

    async fn since(
        &self,
        recipient: UserId,
        since: NotificationId,
        limit: i64,
    ) -> Result<Vec<NotificationView>> {
        let tables = self.lock();
        let newer = tables.notifications.values().filter(|one| one.recipient == recipient && one.id > since);
        Ok(newer.take(usize::try_from(limit).unwrap_or_default()).cloned().collect())
    }

    async fn mark_read(&self, recipient: UserId, id: NotificationId) -> Result<Option<MarkedRead>> {
        let mut tables = self.lock();
        if tables.notifications.get(&id.0).is_none_or(|one| one.recipient != recipient) {
            return Ok(None);
        }
        Ok(Some(tables.mark_read(recipient, |one| one.id == id)))
    }

    async fn mark_all_read(&self, recipient: UserId) -> Result<MarkedRead> {
        Ok(self.lock().mark_read(recipient, |_| true))
    }

    async fn delete(&self, recipient: UserId, id: NotificationId) -> Result<Option<NotificationRemoved>> {
        Ok(self.lock().remove_notification(|one| one.recipient == recipient && one.id == id))
    }
}
