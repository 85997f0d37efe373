//! Posts and their likes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result, Violation,
    media::{Media, MediaKey},
    notifications::{NotificationRemoved, NotificationView},
    page::{Page, PageRequest, Position},
    users::UserId,
};

/// Identifies a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PostId(pub i64);

/// The text of a post: not blank, at most 5000 characters, lines ended by `\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostContent(String);

impl PostContent {
    /// Checks what a client sent; blank text is none. Forms send line ends as CRLF.
    pub fn parse(raw: &str) -> Result<Option<Self>, Violation> {
        let content = raw.replace("\r\n", "\n").replace('\r', "\n");
        if content.trim().is_empty() {
            return Ok(None);
        }
        Violation::check_length("content", &content, 1, 5000)?;
        Violation::check_nul("content", &content)?;
        Ok(Some(Self(content)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A post before it is stored. At least one of content and media is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPost {
    /// Who writes it.
    pub author: UserId,
    /// Its text.
    pub content: Option<PostContent>,
    /// Its file.
    pub media: Option<Media>,
    /// Whether it is for the author alone.
    pub is_private: bool,
    /// When it was written.
    pub at: DateTime<Utc>,
}

/// What a change of a post was prepared for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRevision {
    /// Whether it was for the author alone.
    pub is_private: bool,
    /// The file that it had.
    pub media: Option<MediaKey>,
}

/// Changes to a post; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostChange {
    /// What it was prepared for: a file is stored as private or public, so it must not meet a post that has changed
    /// its visibility, or its file, meanwhile.
    pub expected: PostRevision,
    /// The new text.
    pub content: Option<PostContent>,
    /// The new file.
    pub media: Option<Media>,
    /// Whether it is for the author alone.
    pub is_private: Option<bool>,
    /// When it was changed.
    pub at: DateTime<Utc>,
}

/// A post as a viewer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostView {
    /// Which one.
    pub id: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// The author's name.
    pub author_username: String,
    /// Its text.
    pub content: Option<String>,
    /// Its file.
    pub media: Option<Media>,
    /// Whether it is for the author alone.
    pub is_private: bool,
    /// How many like it.
    pub likes_count: i64,
    /// How many comments it has.
    pub comments_count: i64,
    /// Whether the viewer likes it.
    pub liked_by_me: bool,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: Option<DateTime<Utc>>,
}

impl PostView {
    /// What a change of it would be prepared for.
    pub fn revision(&self) -> PostRevision {
        PostRevision {
            is_private: self.is_private,
            media: self.media.as_ref().map(|media| media.key.clone()),
        }
    }

    /// Whether `user` may change or delete it.
    pub fn is_owned_by(&self, user: UserId) -> bool {
        self.author == user
    }

    /// Its place in lists.
    pub fn position(&self) -> Position {
        Position { at: self.created_at, id: self.id.0 }
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostUpdate {
    /// It is done.
    Updated(PostView),
    /// The post is not what it was when the change was prepared; nothing was changed.
    Conflict,
    /// The author has no such post.
    NotFound,
}

/// What became of a like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Like {
    /// False if the user liked the post before.
    pub is_new: bool,
    /// How many like it now.
    pub likes_count: i64,
    /// What the author is told, if it is new and not their own.
    pub notification: Option<NotificationView>,
}

/// What became of an unlike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// False if the user did not like the post.
    pub was_liked: bool,
    /// How many like it now.
    pub likes_count: i64,
    /// The notification that went with the like.
    pub removed_notification: Option<NotificationRemoved>,
}

/// Stores posts and their likes. Whatever is private is, to all but its author, not there.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait PostRepository: Send + Sync {
    /// Stores a post, counts it, and cancels the deletion that its file is owed, all or nothing.
    async fn insert(&self, new: NewPost) -> Result<PostView>;

    /// The post as `viewer` may see it; `None` if there is none or it is not for their eyes.
    async fn find(&self, id: PostId, viewer: UserId) -> Result<Option<PostView>>;

    /// A page of what `viewer` may see, of one author or of all, newest first.
    async fn list(&self, viewer: UserId, author: Option<UserId>, page: PageRequest)
    -> Result<Page<PostView>>;

    /// Changes a post of `author`; the deletion of a replaced file becomes owed.
    async fn update(&self, id: PostId, author: UserId, change: PostChange) -> Result<PostUpdate>;

    /// Deletes a post of `author` with its comments, likes and notifications, all or nothing; the deletion of its
    /// file becomes owed. Whether they had such a post.
    async fn delete(&self, id: PostId, author: UserId, at: DateTime<Utc>) -> Result<bool>;

    /// Records that `user` likes the post, counts it and stores the author's notification, all or nothing, once
    /// however often it is called. `None` as in `find`.
    async fn like(&self, id: PostId, user: UserId, at: DateTime<Utc>) -> Result<Option<Like>>;

    /// Takes a like back, with its count and its notification. `None` as in `find`.
    async fn unlike(&self, id: PostId, user: UserId) -> Result<Option<Unlike>>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blank_text_is_none() {
        for blank in ["", "  ", "\r\n \t", "\u{3000}"] {
            assert_eq!(PostContent::parse(blank), Ok(None), "{blank:?}");
        }
    }

    #[test]
    fn lines_end_with_newlines() {
        let content = PostContent::parse("a\r\nb\rc\n").unwrap().unwrap();
        assert_eq!(content.as_str(), "a\nb\nc\n");
    }

    #[test]
    fn text_has_at_most_5000_characters() {
        assert!(PostContent::parse(&"🦀".repeat(5000)).unwrap().is_some());
        assert!(PostContent::parse(&"x".repeat(5001)).is_err());
        assert!(PostContent::parse("a\0b").is_err());
        // CRLF counts once, as it is kept.
        assert!(PostContent::parse(&"\r\nx".repeat(2500)).is_ok());
    }

    proptest! {
        #[test]
        fn text_is_kept_but_for_its_line_ends(lines in prop::collection::vec("[^\r\n\x00]{0,20}", 1..8)) {
            let text = lines.join("\n");
            let expected = if text.trim().is_empty() { None } else { Some(text.clone()) };
            for end in ["\n", "\r\n", "\r"] {
                let parsed = PostContent::parse(&lines.join(end)).unwrap();
                prop_assert_eq!(parsed.map(|content| content.as_str().to_owned()), expected.clone());
            }
        }

        #[test]
        fn text_that_passes_passes_again_unchanged(raw in "(?s).{0,200}") {
            if let Ok(Some(content)) = PostContent::parse(&raw) {
                prop_assert_eq!(PostContent::parse(content.as_str()), Ok(Some(content.clone())));
            }
        }
    }
}
