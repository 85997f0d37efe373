//! Media: the files of posts.

use std::path::PathBuf;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, users::UserId};

/// The name under which a file is kept: ours, random and unguessable, never the client's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaKey(pub String);

/// The kinds of files that posts may have.
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

    /// The media type (RFC 6838).
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

    /// The ending of file names.
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

    /// Whether it is a video.
    pub fn is_video(self) -> bool {
        matches!(self, Self::Mp4 | Self::Webm)
    }

    /// The kind with this media type.
    pub fn from_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.mime() == mime)
    }

    /// The kind that a key tells by its ending.
    pub fn from_key(key: &MediaKey) -> Option<Self> {
        let ending = key.0.rsplit_once('.')?.1;
        Self::ALL.into_iter().find(|kind| kind.extension() == ending)
    }
}

/// A file that has arrived whole and been checked, not yet kept.
#[derive(Debug, Clone)]
pub struct MediaFile {
    /// Where it lies for the moment. Whoever made it removes it.
    pub path: PathBuf,
    /// What it is, by its content.
    pub kind: MediaKind,
    /// Its size in bytes.
    pub size: u64,
}

/// A file that is kept, as a post refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its name.
    pub key: MediaKey,
    /// Its address if somebody else serves it; `None` if this server does.
    pub url: Option<String>,
}

/// Keeps files.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MediaStore: Send + Sync {
    /// Keeps a file under `key`, whole or not at all; on success it survives a power cut. Who loads a private one
    /// needs an address from [`Self::signed_url`].
    async fn store(&self, key: MediaKey, file: MediaFile, is_private: bool) -> Result<Media>;

    /// Keeps what `from` names once more, under another key: so a file whose post becomes private, or public, gets
    /// another address. [`Error::MEDIA_NOT_FOUND`](crate::Error::MEDIA_NOT_FOUND) if it is gone.
    async fn copy(&self, from: Media, to: MediaKey, is_private: bool) -> Result<Media>;

    /// Removes what is kept under `key`; nothing there is fine.
    async fn delete(&self, key: MediaKey) -> Result<()>;

    /// An address that loads a private file and expires; `None` if this server serves it.
    fn signed_url(&self, media: &Media, expires_at: DateTime<Utc>) -> Option<String>;
}

/// Who may load a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaAccess {
    /// Whose post it belongs to.
    pub owner: UserId,
    /// Whether it is for the owner alone.
    pub is_private: bool,
}

/// Stores which files belong to posts, and which are owed a deletion.
///
/// A deletion is owed before an upload begins and cancelled by the commit of its post; so no fault leaves a file
/// without a post behind.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MediaRepository: Send + Sync {
    /// Who may load the file; `None` if no post has it.
    async fn find_access(&self, key: MediaKey) -> Result<Option<MediaAccess>>;

    /// Owes the deletion of `key` from `due` on.
    async fn schedule_deletion(&self, key: MediaKey, due: DateTime<Utc>) -> Result<()>;

    /// Takes up to `limit` deletions that are due at `at` and puts them off until `retry_at`, in case this fails.
    async fn claim_deletions(
        &self,
        at: DateTime<Utc>,
        retry_at: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<MediaKey>>;

    /// Strikes a deletion out.
    async fn ack_deletion(&self, key: MediaKey) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_type_and_by_its_ending() {
        for kind in MediaKind::ALL {
            assert_eq!(MediaKind::from_mime(kind.mime()), Some(kind));
            assert_eq!(MediaKind::from_key(&MediaKey(format!("abc.{}", kind.extension()))), Some(kind));
        }
        assert_eq!(MediaKind::from_mime("image/svg+xml"), None);
        assert_eq!(MediaKind::from_key(&MediaKey("abc".into())), None);
    }
}
