//! Posts and likes.

use std::{path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use domain::{
    Error, Result,
    clock::Clock,
    media::{
        Media, MediaAccess, MediaFile, MediaKey, MediaKind, MediaRepository, MediaReservation, MediaStore,
    },
    notifications::{LiveEvent, Notifier},
    page::{Page, PageRequest},
    posts::{NewPost, PostChange, PostContent, PostId, PostRepository, PostUpdate, PostView},
    users::UserId,
};

use crate::{media::MediaInspector, random};

/// Time from the start of an upload until its file counts as orphaned.
const MAX_UPLOAD_TIME: TimeDelta = TimeDelta::hours(1);

/// Number of times an update is attempted while concurrent ones overtake it.
const MAX_UPDATE_ATTEMPTS: usize = 5;

/// Client input for a new or changed post.
#[derive(Debug, Clone, Default)]
pub struct PostDraft {
    /// The text; `None` if the post has none, or keeps its own.
    pub content: Option<PostContent>,
    /// Path of the uploaded file; `None` if the post has none, or keeps its own. The caller deletes it.
    pub media: Option<PathBuf>,
    /// Whether only the author may see the post; `None` for the default, or to keep it as it is.
    pub is_private: Option<bool>,
}

/// Use cases of posts and likes.
#[derive(Clone)]
pub struct PostService {
    /// Stores posts and likes.
    pub posts: Arc<dyn PostRepository>,
    /// Stores which files belong to posts.
    pub media: Arc<dyn MediaRepository>,
    /// Stores files.
    pub store: Arc<dyn MediaStore>,
    /// Inspects uploaded files.
    pub inspector: MediaInspector,
    /// How many bytes the files of an account may have; `None` for any number.
    pub media_quota: Option<u64>,
    /// Announces notifications to connected clients.
    pub notifier: Arc<dyn Notifier>,
    /// The current time.
    pub clock: Arc<dyn Clock>,
}

impl PostService {
    /// Publishes a post.
    pub async fn create(&self, author: UserId, draft: PostDraft) -> Result<PostView> {
        if draft.content.is_none() && draft.media.is_none() {
            return Err(Error::EMPTY_POST);
        }
        let is_private = draft.is_private.unwrap_or(false);
        let media = match self.inspect(author, draft.media).await? {
            Some(file) => Some(self.store_file(author, file, is_private, None).await?),
            None => None,
        };
        let new = NewPost { author, content: draft.content, media, is_private, at: self.clock.now() };
        self.posts.insert(new).await
    }

    /// Returns a post if `viewer` may see it.
    pub async fn get(&self, id: PostId, viewer: UserId) -> Result<PostView> {
        self.posts.find(id, viewer).await?.ok_or(Error::POST_NOT_FOUND)
    }

    /// Lists the posts that `viewer` may see, of one author or of all, newest first.
    pub async fn list(
        &self,
        viewer: UserId,
        author: Option<UserId>,
        page: PageRequest,
    ) -> Result<Page<PostView>> {
        self.posts.list(viewer, author, page).await
    }

    /// Applies the draft to a post of `user`. If the post changes its visibility, its file is copied to a new key, so
    /// that the old URL stops working.
    pub async fn update(&self, id: PostId, user: UserId, draft: PostDraft) -> Result<PostView> {
        let file = self.inspect(user, draft.media).await?;
        for _ in 0..MAX_UPDATE_ATTEMPTS {
            let post = self.get(id, user).await?;
            if !post.is_owned_by(user) {
                return Err(Error::NOT_YOUR_POST_TO_UPDATE);
            }
            if draft.content.is_none() && file.is_none() && draft.is_private.is_none() {
                return Ok(post);
            }
            let is_private = draft.is_private.unwrap_or(post.is_private);
            let media = match (&file, &post.media) {
                (Some(file), old) => {
                    let replaces = old.as_ref().map(|media| media.key.clone());
                    Some(self.store_file(user, file.clone(), is_private, replaces).await?)
                }
                (None, Some(media)) if is_private != post.is_private => {
                    Some(self.copy_file(media.clone(), is_private).await?)
                }
                _ => None,
            };
            let change = PostChange {
                expected: post.revision(),
                content: draft.content.clone(),
                media,
                is_private: draft.is_private,
                at: self.clock.now(),
            };
            let stored = change.media.as_ref().map(|media| media.key.clone());
            let update = self.posts.update(id, user, change).await?;
            if let PostUpdate::Updated(post) = update {
                return Ok(post);
            }
            if let Some(key) = stored {
                self.media.release(key, self.clock.now()).await?;
            }
            if let PostUpdate::NotFound = update {
                return Err(Error::POST_NOT_FOUND);
            }
        }
        Err(Error::overloaded())
    }

    /// Deletes a post of `user` with its comments, likes and notifications. Its file is deleted later.
    pub async fn delete(&self, id: PostId, user: UserId) -> Result<()> {
        let post = self.get(id, user).await?;
        if !post.is_owned_by(user) {
            return Err(Error::NOT_YOUR_POST_TO_DELETE);
        }
        if self.posts.delete(id, user, self.clock.now()).await? { Ok(()) } else { Err(Error::POST_NOT_FOUND) }
    }

    /// Likes a post, notifies its author, and returns the new like count.
    pub async fn like(&self, user: UserId, id: PostId) -> Result<i64> {
        let like = self.posts.like(id, user, self.clock.now()).await?.ok_or(Error::POST_NOT_FOUND)?;
        if let Some(notification) = like.notification {
            self.notifier.notify(LiveEvent::New(notification));
        }
        if like.is_new { Ok(like.likes_count) } else { Err(Error::ALREADY_LIKED) }
    }

    /// Removes a like and its notification, and returns the new like count.
    pub async fn unlike(&self, user: UserId, id: PostId) -> Result<i64> {
        let unlike = self.posts.unlike(id, user).await?.ok_or(Error::POST_NOT_FOUND)?;
        if let Some(removed) = unlike.removed_notification {
            self.notifier.notify(LiveEvent::Deleted(removed));
        }
        if unlike.was_liked { Ok(unlike.likes_count) } else { Err(Error::NOT_LIKED) }
    }

    /// Returns the owner and visibility of a file if `viewer` may load it. A signed URL entitles anyone to.
    pub async fn authorize_media(
        &self,
        key: MediaKey,
        viewer: Option<UserId>,
        has_signed_url: bool,
    ) -> Result<MediaAccess> {
        let access = self.media.find_access(key).await?.ok_or(Error::MEDIA_NOT_FOUND)?;
        if access.is_private && !has_signed_url && viewer != Some(access.owner) {
            return Err(Error::MEDIA_NOT_FOUND);
        }
        Ok(access)
    }

    async fn inspect(&self, user: UserId, upload: Option<PathBuf>) -> Result<Option<MediaFile>> {
        match upload {
            Some(path) => self.inspector.inspect(user, &path).await.map(Some),
            None => Ok(None),
        }
    }

    /// Stores a file for a post that has yet to be committed, possibly instead of the file that the post has.
    ///
    /// The deletion of the file is scheduled first and cancelled by the commit of the post, so a crash in between leaves no
    /// orphaned file.
    async fn store_file(
        &self,
        owner: UserId,
        file: MediaFile,
        is_private: bool,
        replaces: Option<MediaKey>,
    ) -> Result<Media> {
        let key = new_key(file.kind)?;
        let reservation = MediaReservation {
            key: key.clone(),
            owner,
            bytes: file.size,
            quota: self.media_quota,
            replaces,
            due_at: self.clock.now() + MAX_UPLOAD_TIME,
        };
        if !self.media.reserve(reservation).await? {
            return Err(Error::MEDIA_QUOTA_EXCEEDED);
        }
        let stored = self.store.store(key.clone(), file, is_private).await;
        // After other failures it is unknown whether the file will be there.
        if let Err(Error::Full(_)) = stored {
            self.media.release(key, self.clock.now()).await?;
        }
        stored
    }

    /// Copies the file of a post to another key. The repository schedules the deletion of the old one.
    async fn copy_file(&self, media: Media, is_private: bool) -> Result<Media> {
        let kind =
            MediaKind::from_key(&media.key).ok_or_else(|| Error::internal("a stored file has no kind"))?;
        let key = new_key(kind)?;
        self.media.schedule_deletion(key.clone(), self.clock.now() + MAX_UPLOAD_TIME).await?;
        self.store.copy(media, key, is_private).await
    }
}

/// Creates an unguessable key.
fn new_key(kind: MediaKind) -> Result<MediaKey> {
    Ok(MediaKey(format!("{}.{}", random::token::<16>()?, kind.extension())))
}

#[cfg(test)]
mod tests;
