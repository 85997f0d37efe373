//! The tables, and what several repositories need of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use domain::{
    accounts::{ClientHash, CodeHash, RegistrationHandle, ResetTokenHash},
    comments::CommentView,
    media::{Media, MediaKey},
    notifications::{Activity, NotificationId, NotificationRemoved, NotificationView},
    outbox::MailIntent,
    page::{Page, PageRequest},
    passwords::PasswordHash,
    sessions::RefreshId,
    users::UserId,
};

/// Implements every repository in memory. Clones share their data.
#[derive(Clone, Default)]
pub struct InMemory(Arc<Mutex<Tables>>);

impl InMemory {
    /// Locks the tables: each method of a repository is one transaction.
    pub(super) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Activates or deactivates a user.
    pub fn set_active(&self, user: UserId, is_active: bool) {
        if let Some(user) = self.lock().users.get_mut(&user.0) {
            user.is_active = is_active;
        }
    }
}

#[derive(Default)]
pub(super) struct Tables {
    last_id: i64,
    pub(super) users: BTreeMap<i64, User>,
    pub(super) registrations: BTreeMap<i64, Registration>,
    /// Address and end of each reservation, by lowercase username.
    pub(super) reservations: HashMap<String, (String, DateTime<Utc>)>,
    /// Mail, token and expiry, by user.
    pub(super) resets: HashMap<i64, (i64, ResetTokenHash, DateTime<Utc>)>,
    pub(super) mails: BTreeMap<i64, QueuedMail>,
    pub(super) sessions: BTreeMap<i64, Session>,
    pub(super) posts: BTreeMap<i64, Post>,
    /// Post and user.
    pub(super) likes: BTreeSet<(i64, i64)>,
    pub(super) comments: BTreeMap<i64, CommentView>,
    /// Id by follower and followee.
    pub(super) follows: BTreeMap<(i64, i64), i64>,
    pub(super) notifications: BTreeMap<i64, NotificationView>,
    /// Due time by key.
    pub(super) deletions: BTreeMap<String, DateTime<Utc>>,
    /// Owner and size of files that are being uploaded or that posts have, by key.
    pub(super) files: HashMap<String, (UserId, u64)>,
}

pub(super) struct User {
    pub(super) username: String,
    pub(super) email: String,
    pub(super) password: PasswordHash,
    pub(super) is_active: bool,
    pub(super) created_at: DateTime<Utc>,
}

pub(super) struct Registration {
    pub(super) username: String,
    pub(super) email: String,
    pub(super) password: PasswordHash,
    pub(super) created_at: DateTime<Utc>,
    pub(super) handle: RegistrationHandle,
    pub(super) code: Option<(CodeHash, DateTime<Utc>)>,
    /// Number of attempts to enter the code, by client.
    pub(super) attempts: HashMap<ClientHash, i32>,
}

pub(super) struct QueuedMail {
    pub(super) intent: MailIntent,
    pub(super) attempts: i32,
    pub(super) queued_at: DateTime<Utc>,
    pub(super) due_at: Option<DateTime<Utc>>,
}

pub(super) struct Session {
    pub(super) user: UserId,
    pub(super) refresh: RefreshId,
    pub(super) previous: Option<RefreshId>,
    pub(super) refreshed_at: DateTime<Utc>,
    pub(super) client: Option<String>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) ends_at: DateTime<Utc>,
    pub(super) has_ended: bool,
}

impl Session {
    pub(super) fn is_active(&self, at: DateTime<Utc>) -> bool {
        !self.has_ended && self.ends_at > at
    }
}

pub(super) struct Post {
    pub(super) author: UserId,
    pub(super) content: Option<String>,
    pub(super) media: Option<Media>,
    pub(super) is_private: bool,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: Option<DateTime<Utc>>,
}

impl Tables {
    /// Returns the next id. One sequence serves all tables.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// Returns an active user. Users exist only after their address is verified.
    pub(super) fn active_user(&self, user: UserId) -> Option<&User> {
        self.users.get(&user.0).filter(|user| user.is_active)
    }

    pub(super) fn username(&self, user: UserId) -> String {
        self.users.get(&user.0).map(|user| user.username.clone()).unwrap_or_default()
    }

    /// Returns a post if `viewer` may see it.
    pub(super) fn visible_post(&self, id: i64, viewer: Option<UserId>) -> Option<&Post> {
        self.posts.get(&id).filter(|post| !post.is_private || Some(post.author) == viewer)
    }

    pub(super) fn unread_count(&self, recipient: UserId) -> i64 {
        let unread = self.notifications.values().filter(|one| one.recipient == recipient && !one.is_read);
        count(unread)
    }

    /// Stores a notification unless users would notify themselves. Times of one recipient's notifications ascend.
    pub(super) fn notify(
        &mut self,
        recipient: UserId,
        actor: UserId,
        activity: Activity,
        at: DateTime<Utc>,
    ) -> Option<NotificationView> {
        if recipient == actor {
            return None;
        }
        let newest = self.notifications.values().rev().find(|one| one.recipient == recipient);
        let notification = NotificationView {
            created_at: newest.map_or(at, |newest| newest.created_at.max(at)),
            id: NotificationId(self.next_id()),
            recipient,
            actor,
            actor_username: self.username(actor),
            activity,
            is_read: false,
        };
        self.notifications.insert(notification.id.0, notification.clone());
        Some(notification)
    }

    /// Deletes the notification that matches.
    pub(super) fn remove_notification(
        &mut self,
        matches: impl Fn(&NotificationView) -> bool,
    ) -> Option<NotificationRemoved> {
        let found = self.notifications.values().find(|one| matches(one))?;
        let (id, recipient) = (found.id, found.recipient);
        self.notifications.remove(&id.0);
        Some(NotificationRemoved { recipient, id, unread_count: self.unread_count(recipient) })
    }

    /// Deletes the file that a post had.
    pub(super) fn schedule_deletion(&mut self, media: Option<&Media>, at: DateTime<Utc>) {
        if let Some(Media { key: MediaKey(key), .. }) = media {
            self.files.remove(key);
            self.deletions.insert(key.clone(), at);
        }
    }
}

/// Counts items.
pub(super) fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

/// Returns a page of a whole list.
pub(super) fn paginate<T>(mut list: Vec<T>, request: PageRequest, id: impl Fn(&T) -> i64) -> Page<T> {
    list.sort_by_key(|item| std::cmp::Reverse(id(item)));
    let total = count(list.iter());
    let skipped = usize::try_from(request.offset()).unwrap_or(usize::MAX);
    let limit = usize::try_from(request.size.get() + 1).unwrap_or(usize::MAX);
    let is_after = |item: &T| request.after().is_none_or(|after| id(item) < after);
    let rows = list.into_iter().filter(is_after).skip(skipped).take(limit).collect();
    Page::from_rows(rows, total, request.size, &id)
}
