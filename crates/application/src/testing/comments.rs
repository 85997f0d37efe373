//! Comments.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    comments::{
        AddedComment, CommentContent, CommentEdit, CommentId, CommentRepository, CommentView, NewComment,
    },
    notifications::{Activity, NotificationRemoved},
    page::{Page, PageRequest},
    posts::PostId,
    users::UserId,
};

use super::store::{InMemory, Tables, paginate};

impl Tables {
    /// Returns a comment of `author` on a post that they may see.
    fn own_comment(&mut self, post: PostId, id: CommentId, author: UserId) -> CommentEdit<&mut CommentView> {
        if self.visible_post(post.0, Some(author)).is_none() {
            return CommentEdit::PostNotFound;
        }
        let comment = self.comments.get_mut(&id.0);
        let comment = comment.filter(|comment| comment.post == post && comment.author == author);
        comment.map_or(CommentEdit::CommentNotFound, CommentEdit::Applied)
    }
}

#[async_trait]
impl CommentRepository for InMemory {
    async fn insert(&self, new: NewComment) -> Result<Option<AddedComment>> {
        let mut tables = self.lock();
        let Some(recipient) = tables.visible_post(new.post.0, Some(new.author)).map(|post| post.author)
        else {
            return Ok(None);
        };
        let comment = CommentView {
            id: CommentId(tables.next_id()),
            post: new.post,
            author: new.author,
            author_username: tables.username(new.author),
            content: new.content.as_str().to_owned(),
            created_at: new.at,
            updated_at: None,
        };
        tables.comments.insert(comment.id.0, comment.clone());
        let activity = Activity::Comment(new.post, comment.id);
        let notification = tables.notify(recipient, new.author, activity, new.at);
        Ok(Some(AddedComment { comment, notification }))
    }

    async fn list(
        &self,
        post: PostId,
        viewer: Option<UserId>,
        page: PageRequest,
    ) -> Result<Option<Page<CommentView>>> {
        let tables = self.lock();
        if tables.visible_post(post.0, viewer).is_none() {
            return Ok(None);
        }
        let comments = tables.comments.values().filter(|comment| comment.post == post).cloned().collect();
        Ok(Some(paginate(comments, page, |comment| comment.id.0)))
    }

    async fn update(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
        content: CommentContent,
        at: DateTime<Utc>,
    ) -> Result<CommentEdit<CommentView>> {
        let mut tables = self.lock();
        Ok(match tables.own_comment(post, id, author) {
            CommentEdit::Applied(comment) => {
                content.as_str().clone_into(&mut comment.content);
                comment.updated_at = Some(at);
                CommentEdit::Applied(comment.clone())
            }
            CommentEdit::PostNotFound => CommentEdit::PostNotFound,
            CommentEdit::CommentNotFound => CommentEdit::CommentNotFound,
        })
    }

    async fn delete(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
    ) -> Result<CommentEdit<Option<NotificationRemoved>>> {
        let mut tables = self.lock();
        Ok(match tables.own_comment(post, id, author) {
            CommentEdit::Applied(_) => {
                tables.comments.remove(&id.0);
                let activity = Activity::Comment(post, id);
                CommentEdit::Applied(tables.remove_notification(|one| one.activity == activity))
            }
            CommentEdit::PostNotFound => CommentEdit::PostNotFound,
            CommentEdit::CommentNotFound => CommentEdit::CommentNotFound,
        })
    }
}
