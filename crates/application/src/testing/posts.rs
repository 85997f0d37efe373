//! Posts and likes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    notifications::Activity,
    page::{Page, PageRequest},
    posts::{Like, NewPost, PostChange, PostId, PostRepository, PostRevision, PostUpdate, PostView, Unlike},
    users::UserId,
};

use super::store::{InMemory, Post, Tables, count, paginate};

impl Tables {
    fn likes_count(&self, post: i64) -> i64 {
        count(self.likes.iter().filter(|(liked, _)| *liked == post))
    }

    fn view_post(&self, id: i64, post: &Post, viewer: UserId) -> PostView {
        PostView {
            id: PostId(id),
            author: post.author,
            author_username: self.username(post.author),
            content: post.content.clone(),
            media: post.media.clone(),
            is_private: post.is_private,
            likes_count: self.likes_count(id),
            comments_count: count(self.comments.values().filter(|comment| comment.post.0 == id)),
            liked_by_me: self.likes.contains(&(id, viewer.0)),
            created_at: post.created_at,
            updated_at: post.updated_at,
        }
    }

    fn find_post(&self, id: i64, viewer: UserId) -> Option<PostView> {
        self.visible_post(id, Some(viewer)).map(|post| self.view_post(id, post, viewer))
    }
}

#[async_trait]
impl PostRepository for InMemory {
    async fn insert(&self, new: NewPost) -> Result<PostView> {
        let mut tables = self.lock();
        if let Some(media) = &new.media {
            tables.deletions.remove(&media.key.0);
        }
        let id = tables.next_id();
        let post = Post {
            author: new.author,
            content: new.content.map(|content| content.as_str().to_owned()),
            media: new.media,
            is_private: new.is_private,
            created_at: new.at,
            updated_at: None,
        };
        let view = tables.view_post(id, &post, new.author);
        tables.posts.insert(id, post);
        Ok(view)
    }

    async fn find(&self, id: PostId, viewer: UserId) -> Result<Option<PostView>> {
        Ok(self.lock().find_post(id.0, viewer))
    }

    async fn list(
        &self,
        viewer: UserId,
        author: Option<UserId>,
        page: PageRequest,
    ) -> Result<Page<PostView>> {
        let tables = self.lock();
        let ids = tables.posts.iter().filter(|(_, post)| author.is_none_or(|author| post.author == author));
        let posts = ids.filter_map(|(id, _)| tables.find_post(*id, viewer)).collect();
        Ok(paginate(posts, page, |post| post.id.0))
    }

    async fn update(&self, id: PostId, author: UserId, change: PostChange) -> Result<PostUpdate> {
        let mut tables = self.lock();
        let Some(post) = tables.posts.get_mut(&id.0).filter(|post| post.author == author) else {
            return Ok(PostUpdate::NotFound);
        };
        let media = post.media.as_ref().map(|media| media.key.clone());
        if change.expected != (PostRevision { is_private: post.is_private, media }) {
            return Ok(PostUpdate::Conflict);
        }
        if let Some(content) = change.content {
            post.content = Some(content.as_str().to_owned());
        }
        post.is_private = change.is_private.unwrap_or(post.is_private);
        post.updated_at = Some(change.at);
        if let Some(media) = change.media {
            let key = media.key.0.clone();
            let replaced = post.media.replace(media);
            tables.deletions.remove(&key);
            let old = replaced.as_ref().and_then(|old| tables.files.get(&old.key.0).copied());
            if let Some(old) = old {
                tables.files.entry(key).or_insert(old); // a copy
            }
            tables.schedule_deletion(replaced.as_ref(), change.at);
        }
        Ok(tables.find_post(id.0, author).map_or(PostUpdate::NotFound, PostUpdate::Updated))
    }

    async fn delete(&self, id: PostId, author: UserId, at: DateTime<Utc>) -> Result<bool> {
        let mut tables = self.lock();
        if tables.posts.get(&id.0).is_none_or(|post| post.author != author) {
            return Ok(false);
        }
        let media = tables.posts.remove(&id.0).and_then(|post| post.media);
        tables.schedule_deletion(media.as_ref(), at);
        tables.likes.retain(|(post, _)| *post != id.0);
        tables.comments.retain(|_, comment| comment.post != id);
        tables.notifications.retain(|_, notification| notification.activity.post() != Some(id));
        Ok(true)
    }

    async fn like(&self, id: PostId, user: UserId, at: DateTime<Utc>) -> Result<Option<Like>> {
        let mut tables = self.lock();
        let Some(author) = tables.visible_post(id.0, Some(user)).map(|post| post.author) else {
            return Ok(None);
        };
        let is_new = tables.likes.insert((id.0, user.0));
        let notification = if is_new { tables.notify(author, user, Activity::Like(id), at) } else { None };
        Ok(Some(Like { is_new, likes_count: tables.likes_count(id.0), notification }))
    }

    async fn unlike(&self, id: PostId, user: UserId) -> Result<Option<Unlike>> {
        let mut tables = self.lock();
        if tables.visible_post(id.0, Some(user)).is_none() {
            return Ok(None);
        }
        let was_liked = tables.likes.remove(&(id.0, user.0));
        let removed_notification =
            tables.remove_notification(|one| one.actor == user && one.activity == Activity::Like(id));
        Ok(Some(Unlike { was_liked, likes_count: tables.likes_count(id.0), removed_notification }))
    }
}
