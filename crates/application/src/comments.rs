//! Comments.

use std::sync::Arc;

use domain::{
    Error, Result,
    clock::Clock,
    comments::{CommentContent, CommentEdit, CommentId, CommentRepository, CommentView, NewComment},
    notifications::{LiveEvent, Notifier},
    page::{Page, PageRequest},
    posts::PostId,
    users::UserId,
};

/// Use cases of comments.
#[derive(Clone)]
pub struct CommentService {
    /// Stores comments.
    pub comments: Arc<dyn CommentRepository>,
    /// Announces notifications to connected clients.
    pub notifier: Arc<dyn Notifier>,
    /// The current time.
    pub clock: Arc<dyn Clock>,
}

impl CommentService {
    /// Comments on a post and notifies its author.
    pub async fn add(&self, post: PostId, author: UserId, content: CommentContent) -> Result<CommentView> {
        let new = NewComment { post, author, content, at: self.clock.now() };
        let added = self.comments.insert(new).await?.ok_or(Error::POST_NOT_FOUND)?;
        if let Some(notification) = added.notification {
            self.notifier.notify(LiveEvent::New(notification));
        }
        Ok(added.comment)
    }

    /// Lists the comments of a post, newest first.
    pub async fn list(
        &self,
        post: PostId,
        viewer: Option<UserId>,
        page: PageRequest,
    ) -> Result<Page<CommentView>> {
        self.comments.list(post, viewer, page).await?.ok_or(Error::POST_NOT_FOUND)
    }

    /// Replaces the text of a comment of `author`.
    pub async fn update(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
        content: CommentContent,
    ) -> Result<CommentView> {
        into_result(self.comments.update(post, id, author, content, self.clock.now()).await?)
    }

    /// Deletes a comment of `author`.
    pub async fn delete(&self, post: PostId, id: CommentId, author: UserId) -> Result<()> {
        let removed = into_result(self.comments.delete(post, id, author).await?)?;
        if let Some(removed) = removed {
            self.notifier.notify(LiveEvent::Deleted(removed));
        }
        Ok(())
    }
}

fn into_result<T>(edit: CommentEdit<T>) -> Result<T> {
    match edit {
        CommentEdit::Applied(value) => Ok(value),
        CommentEdit::PostNotFound => Err(Error::POST_NOT_FOUND),
        CommentEdit::CommentNotFound => Err(Error::COMMENT_NOT_FOUND),
    }
}

#[cfg(test)]
mod tests {
    use domain::{clock::SystemClock, comments::MockCommentRepository, notifications::MockNotifier};

    use super::*;

    fn service(comments: MockCommentRepository) -> CommentService {
        let notifier = Arc::new(MockNotifier::new());
        CommentService { comments: Arc::new(comments), notifier, clock: Arc::new(SystemClock) }
    }

    #[tokio::test]
    async fn comments_of_an_invisible_post_are_not_found() {
        let mut comments = MockCommentRepository::new();
        comments.expect_insert().return_once(|_| Ok(None));
        comments.expect_list().return_once(|_, _, _| Ok(None));
        comments.expect_delete().return_once(|_, _, _| Ok(CommentEdit::PostNotFound));
        comments.expect_update().return_once(|_, _, _, _, _| Ok(CommentEdit::CommentNotFound));
        let service = service(comments);
        let text = || CommentContent::parse("hi").unwrap();
        let (post, id, user) = (PostId(1), CommentId(2), UserId(3));
        let page = domain::page::PageRequest {
            start: domain::page::PageStart::Page(domain::page::PageNumber::FIRST),
            size: domain::page::PageSize::DEFAULT,
        };
        assert_eq!(service.add(post, user, text()).await, Err(Error::POST_NOT_FOUND));
        assert_eq!(service.list(post, None, page).await, Err(Error::POST_NOT_FOUND));
        assert_eq!(service.delete(post, id, user).await, Err(Error::POST_NOT_FOUND));
        assert_eq!(service.update(post, id, user, text()).await, Err(Error::COMMENT_NOT_FOUND));
    }
}
