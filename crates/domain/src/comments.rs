//! Comments on posts.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result, Violation,
    notifications::{NotificationRemoved, NotificationView},
    page::{Page, PageRequest, Position},
    posts::PostId,
    users::UserId,
};

/// Identifies a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommentId(pub i64);

/// The text of a comment: trimmed, 1 to 2000 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentContent(String);

impl CommentContent {
    /// Checks what a client sent.
    pub fn parse(raw: &str) -> Result<Self, Violation> {
        let content = raw.trim();
        Violation::check_length("content", content, 1, 2000)?;
        Violation::check_nul("content", content)?;
        Ok(Self(content.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A comment before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewComment {
    /// What it is about.
    pub post: PostId,
    /// Who writes it.
    pub author: UserId,
    /// Its text.
    pub content: CommentContent,
    /// When it was written.
    pub at: DateTime<Utc>,
}

/// A comment as everybody sees it who may see its post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentView {
    /// Which one.
    pub id: CommentId,
    /// What it is about.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// The author's name.
    pub author_username: String,
    /// Its text.
    pub content: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: Option<DateTime<Utc>>,
}

impl CommentView {
    /// Its place in lists.
    pub fn position(&self) -> Position {
        Position { at: self.created_at, id: self.id.0 }
    }
}

/// A comment that has been stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedComment {
    /// The comment.
    pub comment: CommentView,
    /// What the post's author is told, if it is not their own.
    pub notification: Option<NotificationView>,
}

/// What became of changing or deleting a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommentEdit<T> {
    /// It is done.
    Applied(T),
    /// The post is not there, or not for the caller's eyes.
    PostNotFound,
    /// The post has no such comment of the caller.
    CommentNotFound,
}

/// Stores comments. Those on a post that a viewer may not see are, to them, not there.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait CommentRepository: Send + Sync {
    /// Stores a comment, counts it and stores the notification of the post's author, all or nothing. `None` if
    /// the author may not see such a post.
    async fn insert(&self, new: NewComment) -> Result<Option<AddedComment>>;

    /// A page of the comments on a post, newest first; `None` if the viewer may not see such a post.
    async fn list(
        &self,
        post: PostId,
        viewer: Option<UserId>,
        page: PageRequest,
    ) -> Result<Option<Page<CommentView>>>;

    /// Changes the text of a comment of `author`.
    async fn update(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
        content: CommentContent,
        at: DateTime<Utc>,
    ) -> Result<CommentEdit<CommentView>>;

    /// Deletes a comment of `author`, with its count and its notification, all or nothing.
    async fn delete(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
    ) -> Result<CommentEdit<Option<NotificationRemoved>>>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Rule;

    #[test]
    fn text_is_trimmed_and_has_1_to_2000_characters() {
        assert_eq!(CommentContent::parse("  hi \n").unwrap().as_str(), "hi");
        assert!(CommentContent::parse("a\0b").is_err());
        assert_eq!(CommentContent::parse(" \t ").unwrap_err().rule, Rule::TooShort);
        assert!(CommentContent::parse(&format!(" {} ", "ß".repeat(2000))).is_ok());
        assert_eq!(CommentContent::parse(&"x".repeat(2001)).unwrap_err().rule, Rule::TooLong);
    }

    proptest! {
        #[test]
        fn whatever_is_not_blank_is_kept_but_for_what_surrounds_it(
            before in "[ \t\r\n]{0,3}",
            text in "(?s)[^\x00]{0,60}",
            after in "[ \t\r\n]{0,3}",
        ) {
            let parsed = CommentContent::parse(&format!("{before}{text}{after}"));
            match text.trim() {
                "" => prop_assert_eq!(parsed.unwrap_err().rule, Rule::TooShort),
                trimmed => {
                    let content = parsed.unwrap();
                    prop_assert_eq!(content.as_str(), trimmed);
                    prop_assert_eq!(CommentContent::parse(trimmed), Ok(content));
                }
            }
        }

        #[test]
        fn the_length_counts_characters(length in 1900usize..2100, character in "[^\\s\x00]") {
            prop_assert_eq!(CommentContent::parse(&character.repeat(length)).is_ok(), length <= 2000);
        }
    }
}
