//! Follows.

use std::sync::Arc;

use domain::{
    Error, Result,
    clock::Clock,
    follows::FollowRepository,
    notifications::{LiveEvent, Notifier},
    page::{Page, PageRequest},
    users::{UserId, UserSummary},
};

/// Use cases of follows.
#[derive(Clone)]
pub struct FollowService {
    /// Stores follows.
    pub follows: Arc<dyn FollowRepository>,
    /// Announces notifications to connected clients.
    pub notifier: Arc<dyn Notifier>,
    /// The current time.
    pub clock: Arc<dyn Clock>,
}

impl FollowService {
    /// Follows a user and notifies them.
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

    /// Unfollows a user.
    pub async fn unfollow(&self, follower: UserId, followee: UserId) -> Result<()> {
        let unfollow = self.follows.unfollow(follower, followee).await?.ok_or(Error::USER_NOT_FOUND)?;
        if let Some(removed) = unfollow.removed_notification {
            self.notifier.notify(LiveEvent::Deleted(removed));
        }
        if unfollow.was_following { Ok(()) } else { Err(Error::NOT_FOLLOWING) }
    }

    /// Lists the followers of a user, newest first.
    pub async fn list_followers(&self, user: UserId, page: PageRequest) -> Result<Page<UserSummary>> {
        self.follows.list_followers(user, page).await?.ok_or(Error::USER_NOT_FOUND)
    }

    /// Lists the users whom a user follows, newest first.
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
    async fn follow_of_oneself_is_rejected() {
        let service = service(MockFollowRepository::new());
        assert_eq!(service.follow(UserId(1), UserId(1)).await, Err(Error::SELF_FOLLOW));
    }

    #[tokio::test]
    async fn repeated_follow_and_unfollow_are_rejected() {
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
    async fn follow_and_unfollow_of_an_unknown_user_are_not_found() {
        let mut follows = MockFollowRepository::new();
        follows.expect_follow().returning(|_, _, _| Ok(None));
        follows.expect_unfollow().returning(|_, _| Ok(None));
        let service = service(follows);
        assert_eq!(service.follow(UserId(1), UserId(2)).await, Err(Error::USER_NOT_FOUND));
        assert_eq!(service.unfollow(UserId(1), UserId(2)).await, Err(Error::USER_NOT_FOUND));
    }
}
