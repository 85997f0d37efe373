//! Media files of posts.

use std::path::PathBuf;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, users::UserId};

/// The name of a stored file: random and unguessable, never chosen by a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaKey(pub String);

/// A kind of file that posts may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
    /// MPEG-4.
    Mp4,
    /// `WebM`.
    Webm,
}

impl MediaKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Jpeg, Self::Png, Self::Gif, Self::Webp, Self::Mp4, Self::Webm];

    /// Returns the media type (RFC 6838).
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Mp4 => "video/mp4",
            Self::Webm => "video/webm",
        }
    }

    /// Returns the file name extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Webp => "webp",
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
        }
    }

    /// Returns whether it is a video.
    pub fn is_video(self) -> bool {
        matches!(self, Self::Mp4 | Self::Webm)
    }

    /// Returns the kind by the extension of a key.
    pub fn from_key(key: &MediaKey) -> Option<Self> {
        let extension = key.0.rsplit_once('.')?.1;
        Self::ALL.into_iter().find(|kind| kind.extension() == extension)
    }
}

/// An uploaded file that has been inspected and not yet stored.
#[derive(Debug, Clone)]
pub struct MediaFile {
    /// Its temporary path. Its creator deletes it.
    pub path: PathBuf,
    /// Its kind, determined by its content.
    pub kind: MediaKind,
    /// Its size in bytes.
    pub size: u64,
}

/// A stored file, as a post refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its name.
    pub key: MediaKey,
    /// Its URL if an external service serves it; `None` if this server does.
    pub url: Option<String>,
}

/// Stores files.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MediaStore: Send + Sync {
    /// Stores a file under `key`, completely or not at all. On success it survives a power failure. A private file
    /// loads only by a URL from [`Self::signed_url`].
    async fn store(&self, key: MediaKey, file: MediaFile, is_private: bool) -> Result<Media>;

    /// Copies a stored file to another key, so that a file whose visibility changes gets another URL.
    ///
    /// # Errors
    /// [`Error::MEDIA_NOT_FOUND`](crate::Error::MEDIA_NOT_FOUND) if there is no such file.
    async fn copy(&self, from: Media, to: MediaKey, is_private: bool) -> Result<Media>;

    /// Deletes the file under `key`. Idempotent: succeeds if there is none.
    async fn delete(&self, key: MediaKey) -> Result<()>;

    /// Returns a URL that loads a private file until `expires_at`; `None` if this server serves the file.
    fn signed_url(&self, media: &Media, expires_at: DateTime<Utc>) -> Option<String>;
}

/// Who may load a file: anyone, or its owner only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaAccess {
    /// The author of its post.
    pub owner: UserId,
    /// Whether only the owner may load it.
    pub is_private: bool,
}

/// A file that is about to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaReservation {
    /// The file.
    pub key: MediaKey,
    /// Who uploads it.
    pub owner: UserId,
    /// Its size.
    pub bytes: u64,
    /// How many bytes all files of the owner may have; `None` for any number.
    pub quota: Option<u64>,
    /// The file of the owner's post that it is to replace, which does not count.
    pub replaces: Option<MediaKey>,
    /// When it is deleted unless a post has it by then.
    pub due_at: DateTime<Utc>,
}

/// Stores which files belong to posts, and the scheduled deletions of files.
///
/// A deletion is scheduled before an upload starts and cancelled when the post commits, so that no crash leaves an
/// orphaned file.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MediaRepository: Send + Sync {
    /// Returns who may load the file, or `None` if no post has it.
    async fn find_access(&self, key: MediaKey) -> Result<Option<MediaAccess>>;

    /// Counts a file for its owner and schedules its deletion, in one transaction. It counts until its post is deleted or
    /// gets another file, or until it is deleted itself. Returns false, and changes nothing, if the files of the owner
    /// would exceed the quota; concurrent calls never exceed it together.
    async fn reserve(&self, file: MediaReservation) -> Result<bool>;

    /// Makes the deletion of a reserved file due at `at`. Does nothing if a post has it.
    async fn release(&self, key: MediaKey, at: DateTime<Utc>) -> Result<()>;

    /// Schedules the deletion of `key`, a copy of a post's file that will replace it, for `due_at`. It does not
    /// count until it replaces the file, and then as that did.
    async fn schedule_deletion(&self, key: MediaKey, due_at: DateTime<Utc>) -> Result<()>;

    /// Claims up to `limit` deletions that are due at `at`. They are due again at `retry_at` unless acknowledged.
    async fn claim_deletions(
        &self,
        at: DateTime<Utc>,
        retry_at: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<MediaKey>>;

    /// Removes a scheduled deletion.
    async fn ack_deletion(&self, key: MediaKey) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_extension() {
        for kind in MediaKind::ALL {
            assert_eq!(MediaKind::from_key(&MediaKey(format!("abc.{}", kind.extension()))), Some(kind));
        }
        assert_eq!(MediaKind::from_key(&MediaKey("abc.svg".into())), None);
        assert_eq!(MediaKind::from_key(&MediaKey("abc".into())), None);
    }

    #[test]
    fn media_types_are_distinct_and_exclude_svg() {
        let types = MediaKind::ALL.map(MediaKind::mime);
        assert!((1..types.len()).all(|at| !types[..at].contains(&types[at])), "{types:?}");
        assert!(!types.contains(&"image/svg+xml"));
    }
}
