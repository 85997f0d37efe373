//! Posts and likes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result, Violation,
    media::{Media, MediaKey},
    notifications::{NotificationRemoved, NotificationView},
    page::{Page, PageRequest},
    text,
    users::UserId,
};

/// Identifies a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PostId(pub i64);

/// The text of a post: something of it is visible, at most 5000 characters, lines ended by `\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostContent(String);

impl PostContent {
    /// Parses client input. Blank text yields `None`; CRLF, as forms send it, becomes `\n`.
    pub fn parse(raw: &str) -> Result<Option<Self>, Violation> {
        let content = raw.replace("\r\n", "\n").replace('\r', "\n");
        if text::is_blank(&content) {
            return Ok(None);
        }
        Violation::check_length("content", &content, 1, 5000)?;
        Violation::check_nul("content", &content)?;
        Ok(Some(Self(content)))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A post before it is stored. It has content, media or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPost {
    /// Its author.
    pub author: UserId,
    /// Its text.
    pub content: Option<PostContent>,
    /// Its file.
    pub media: Option<Media>,
    /// Whether only the author may see it.
    pub is_private: bool,
    /// When it was created.
    pub at: DateTime<Utc>,
}

/// The state of a post that a change was prepared for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRevision {
    /// Whether only the author could see it.
    pub is_private: bool,
    /// The key of its file.
    pub media: Option<MediaKey>,
}

/// Changes to a post. Fields that are `None` stay unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostChange {
    /// The state that the change was prepared for. A file is stored as private or public, so it must not be attached
    /// to a post whose visibility or file has changed since.
    pub expected: PostRevision,
    /// The new text.
    pub content: Option<PostContent>,
    /// The new file.
    pub media: Option<Media>,
    /// Whether only the author may see it.
    pub is_private: Option<bool>,
    /// When it is changed.
    pub at: DateTime<Utc>,
}

/// A post as one viewer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostView {
    /// Its id.
    pub id: PostId,
    /// Its author.
    pub author: UserId,
    /// The author's username.
    pub author_username: String,
    /// Its text.
    pub content: Option<String>,
    /// Its file.
    pub media: Option<Media>,
    /// Whether only the author may see it.
    pub is_private: bool,
    /// Number of its likes.
    pub likes_count: i64,
    /// Number of its comments.
    pub comments_count: i64,
    /// Whether the viewer likes it.
    pub liked_by_me: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: Option<DateTime<Utc>>,
}

impl PostView {
    /// Returns the state that a change of it is prepared for.
    pub fn revision(&self) -> PostRevision {
        PostRevision {
            is_private: self.is_private,
            media: self.media.as_ref().map(|media| media.key.clone()),
        }
    }

    /// Returns whether `user` may change or delete it.
    pub fn is_owned_by(&self, user: UserId) -> bool {
        self.author == user
    }
}

/// Outcome of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostUpdate {
    /// The post was updated.
    Updated(PostView),
    /// The post no longer has the expected state. Nothing was changed.
    Conflict,
    /// The author has no such post.
    NotFound,
}

/// Outcome of a like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Like {
    /// Whether the user did not like the post before.
    pub is_new: bool,
    /// Number of likes of the post now.
    pub likes_count: i64,
    /// Notification of the author, if the like is new and not their own.
    pub notification: Option<NotificationView>,
}

/// Outcome of an unlike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// Whether the user liked the post before.
    pub was_liked: bool,
    /// Number of likes of the post now.
    pub likes_count: i64,
    /// The notification of the like, if it still existed.
    pub removed_notification: Option<NotificationRemoved>,
}

/// Stores posts and their likes. Methods treat private posts of others as missing.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait PostRepository: Send + Sync {
    /// Stores a post, updates the author's counter and cancels the scheduled deletion of its file in one transaction.
    async fn insert(&self, new: NewPost) -> Result<PostView>;

    /// Returns the post, or `None` if it does not exist or `viewer` may not see it.
    async fn find(&self, id: PostId, viewer: UserId) -> Result<Option<PostView>>;

    /// Lists the posts that `viewer` may see, of one author or of all, newest first.
    async fn list(&self, viewer: UserId, author: Option<UserId>, page: PageRequest)
    -> Result<Page<PostView>>;

    /// Updates a post of `author` and schedules the deletion of a replaced file in one transaction.
    async fn update(&self, id: PostId, author: UserId, change: PostChange) -> Result<PostUpdate>;

    /// Deletes a post of `author` with its comments, likes and notifications, and schedules the deletion of its file, in
    /// one transaction. Returns whether there was such a post.
    async fn delete(&self, id: PostId, author: UserId, at: DateTime<Utc>) -> Result<bool>;

    /// Likes a post, updates its counter and stores the author's notification in one transaction. Idempotent: a second
    /// like changes nothing and returns `is_new: false`. Returns `None` as `find` does.
    async fn like(&self, id: PostId, user: UserId, at: DateTime<Utc>) -> Result<Option<Like>>;

    /// Removes a like, updates the counter and deletes the notification in one transaction. Idempotent: a second unlike
    /// returns `was_liked: false`. Returns `None` as `find` does.
    async fn unlike(&self, id: PostId, user: UserId) -> Result<Option<Unlike>>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parse_returns_none_for_blank_text() {
        for blank in ["", "  ", "\r\n \t", "\u{3000}", "\u{200b}", "\u{2800} \u{3164}"] {
            assert_eq!(PostContent::parse(blank), Ok(None), "{blank:?}");
        }
    }

    #[test]
    fn parse_keeps_invisible_characters_beside_visible_ones() {
        for text in ["👩\u{200d}💻", "\u{200b}a", "می\u{200c}خواهم", "❤\u{fe0f}"] {
            assert_eq!(PostContent::parse(text).unwrap().unwrap().as_str(), text);
        }
    }

    #[test]
    fn parse_converts_line_ends_to_newlines() {
        let content = PostContent::parse("a\r\nb\rc\n").unwrap().unwrap();
        assert_eq!(content.as_str(), "a\nb\nc\n");
    }

    #[test]
    fn parse_accepts_at_most_5000_characters() {
        assert!(PostContent::parse(&"🦀".repeat(5000)).unwrap().is_some());
        assert!(PostContent::parse(&"x".repeat(5001)).is_err());
        assert!(PostContent::parse("a\0b").is_err());
        // CRLF is stored, and counted, as one character.
        assert!(PostContent::parse(&"\r\nx".repeat(2500)).is_ok());
    }

    proptest! {
        #[test]
        fn parse_changes_only_line_ends(lines in prop::collection::vec("[^\r\n\x00]{0,20}", 1..8)) {
            let text = lines.join("\n");
            let expected = if text::is_blank(&text) { None } else { Some(text.clone()) };
            for end in ["\n", "\r\n", "\r"] {
                let parsed = PostContent::parse(&lines.join(end)).unwrap();
                prop_assert_eq!(parsed.map(|content| content.as_str().to_owned()), expected.clone());
            }
        }

        #[test]
        fn parse_is_idempotent(raw in "(?s).{0,200}") {
            if let Ok(Some(content)) = PostContent::parse(&raw) {
                prop_assert_eq!(PostContent::parse(content.as_str()), Ok(Some(content.clone())));
            }
        }
    }
}
