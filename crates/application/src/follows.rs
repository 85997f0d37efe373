//! Following users.

use std::sync::Arc;

use domain::{
    Error, Result,
    clock::Clock,
    follows::FollowRepository,
    notifications::{LiveEvent, Notifier},
    page::{Page, PageRequest},
    users::{UserId, UserSummary},
};

/// Following users.
#[derive(Clone)]
pub struct FollowService {
    /// Who follows whom.
    pub follows: Arc<dyn FollowRepository>,
    /// Announces notifications to connected clients.
    pub notifier: Arc<dyn Notifier>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl FollowService {
    /// Follows a user and tells them.
    pub async fn follow(&self, follower: UserId, followee: UserId) -> Result<()> {
        if follower == followee {
            return Err(Error::SELF_FOLLOW);
        }
        let follow =
            self.follows.follow(follower, followee, self.clock.now()).await?.ok_or(Error::USER_NOT_FOUND)?;
        if let Some(notification) = follow.notification {
            self.notifier.notify(LiveEvent::New(notification));
        }
        if follow.is_new { Ok(()) } else { Err(Error::ALREADY_FOLLOWING) }
    }

    /// Follows a user no longer.
    pub async fn unfollow(&self, follower: UserId, followee: UserId) -> Result<()> {
        let unfollow = self.follows.unfollow(follower, followee).await?.ok_or(Error::USER_NOT_FOUND)?;
        if let Some(removed) = unfollow.removed_notification {
            self.notifier.notify(LiveEvent::Deleted(removed));
        }
        if unfollow.was_following { Ok(()) } else { Err(Error::NOT_FOLLOWING) }
    }

    /// A page of those who follow a user.
    pub async fn list_followers(&self, user: UserId, page: PageRequest) -> Result<Page<UserSummary>> {
        self.follows.list_followers(user, page).await?.ok_or(Error::USER_NOT_FOUND)
    }

    /// A page of those whom a user follows.
    pub async fn list_following(&self, user: UserId, page: PageRequest) -> Result<Page<UserSummary>> {
        self.follows.list_following(user, page).await?.ok_or(Error::USER_NOT_FOUND)
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        clock::SystemClock,
        follows::{Follow, MockFollowRepository, Unfollow},
        notifications::MockNotifier,
    };

    use super::*;

    fn service(follows: MockFollowRepository) -> FollowService {
        let notifier = Arc::new(MockNotifier::new());
        FollowService { follows: Arc::new(follows), notifier, clock: Arc::new(SystemClock) }
    }

    #[tokio::test]
    async fn nobody_follows_themselves() {
        let service = service(MockFollowRepository::new());
        assert_eq!(service.follow(UserId(1), UserId(1)).await, Err(Error::SELF_FOLLOW));
    }

    #[tokio::test]
    async fn following_twice_and_unfollowing_nobody_are_refused() {
        let mut follows = MockFollowRepository::new();
        follows.expect_follow().returning(|_, _, _| Ok(Some(Follow { is_new: false, notification: None })));
        follows
            .expect_unfollow()
            .returning(|_, _| Ok(Some(Unfollow { was_following: false, removed_notification: None })));
        let service = service(follows);
        assert_eq!(service.follow(UserId(1), UserId(2)).await, Err(Error::ALREADY_FOLLOWING));
        assert_eq!(service.unfollow(UserId(1), UserId(2)).await, Err(Error::NOT_FOLLOWING));
    }

    #[tokio::test]
    async fn who_is_not_there_cannot_be_followed() {
        let mut follows = MockFollowRepository::new();
        follows.expect_follow().returning(|_, _, _| Ok(None));
        follows.expect_unfollow().returning(|_, _| Ok(None));
        let service = service(follows);
        assert_eq!(service.follow(UserId(1), UserId(2)).await, Err(Error::USER_NOT_FOUND));
        assert_eq!(service.unfollow(UserId(1), UserId(2)).await, Err(Error::USER_NOT_FOUND));
    }
}
