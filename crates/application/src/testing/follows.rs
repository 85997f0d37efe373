//! Follows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    follows::{Follow, FollowRepository, Unfollow},
    notifications::Activity,
    page::{Page, PageRequest},
    users::{UserId, UserSummary},
};

use super::store::{InMemory, Tables, paginate};

impl Tables {
    /// Returns a page of the other users of follows, given with the ids of the follows.
    fn list_users(&self, follows: impl Iterator<Item = (i64, i64)>, page: PageRequest) -> Page<UserSummary> {
        let page = paginate(follows.collect(), page, |(_, follow)| *follow);
        let summary = |(id, _)| UserSummary { id: UserId(id), username: self.username(UserId(id)) };
        Page { items: page.items.into_iter().map(summary).collect(), total: page.total, next: page.next }
    }
}

#[async_trait]
impl FollowRepository for InMemory {
    async fn follow(&self, follower: UserId, followee: UserId, at: DateTime<Utc>) -> Result<Option<Follow>> {
        let mut tables = self.lock();
        if tables.active_user(followee).is_none() {
            return Ok(None);
        }
        if tables.follows.contains_key(&(follower.0, followee.0)) {
            return Ok(Some(Follow { is_new: false, notification: None }));
        }
        let id = tables.next_id();
        tables.follows.insert((follower.0, followee.0), id);
        let notification = tables.notify(followee, follower, Activity::Follow, at);
        Ok(Some(Follow { is_new: true, notification }))
    }

    async fn unfollow(&self, follower: UserId, followee: UserId) -> Result<Option<Unfollow>> {
        let mut tables = self.lock();
        if tables.active_user(followee).is_none() {
            return Ok(None);
        }
        let was_following = tables.follows.remove(&(follower.0, followee.0)).is_some();
        let removed_notification = tables.remove_notification(|one| {
            one.recipient == followee && one.actor == follower && one.activity == Activity::Follow
        });
        Ok(Some(Unfollow { was_following, removed_notification }))
    }

    async fn list_followers(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>> {
        let tables = self.lock();
        if tables.active_user(user).is_none() {
            return Ok(None);
        }
        let follows = tables.follows.iter().filter(|((_, followee), _)| *followee == user.0);
        Ok(Some(tables.list_users(follows.map(|((follower, _), id)| (*follower, *id)), page)))
    }

    async fn list_following(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>> {
        let tables = self.lock();
        if tables.active_user(user).is_none() {
            return Ok(None);
        }
        let follows = tables.follows.iter().filter(|((follower, _), _)| *follower == user.0);
        Ok(Some(tables.list_users(follows.map(|((_, followee), id)| (*followee, *id)), page)))
    }
}
