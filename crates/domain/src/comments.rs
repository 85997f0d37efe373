//! Comments.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result, Violation,
    notifications::{NotificationRemoved, NotificationView},
    page::{Page, PageRequest},
    posts::PostId,
    text,
    users::UserId,
};

/// Identifies a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommentId(pub i64);

/// The text of a comment: trimmed, 1 to 2000 characters, at least one of which is visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentContent(String);

impl CommentContent {
    /// Parses client input.
    pub fn parse(raw: &str) -> Result<Self, Violation> {
        let content = if text::is_blank(raw) { "" } else { raw.trim() };
        Violation::check_length("content", content, 1, 2000)?;
        Violation::check_nul("content", content)?;
        Ok(Self(content.to_owned()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A comment before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewComment {
    /// Its post.
    pub post: PostId,
    /// Its author.
    pub author: UserId,
    /// Its text.
    pub content: CommentContent,
    /// When it was created.
    pub at: DateTime<Utc>,
}

/// A comment, equal for all who may see its post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentView {
    /// Its id.
    pub id: CommentId,
    /// Its post.
    pub post: PostId,
    /// Its author.
    pub author: UserId,
    /// The author's username.
    pub author_username: String,
    /// Its text.
    pub content: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: Option<DateTime<Utc>>,
}

impl CommentView {}

/// A new comment after it has been stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedComment {
    /// The comment.
    pub comment: CommentView,
    /// Notification of the post's author; `None` if they are the commenter.
    pub notification: Option<NotificationView>,
}

/// Outcome of updating or deleting a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommentEdit<T> {
    /// The change was applied.
    Applied(T),
    /// The post does not exist or the author may not see it.
    PostNotFound,
    /// The post has no such comment of this author.
    CommentNotFound,
}

/// Stores comments. Methods treat posts that a viewer may not see as missing.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait CommentRepository: Send + Sync {
    /// Stores a comment, updates the post's counter and stores the notification of its author in one transaction.
    /// Returns `None` if there is no such post.
    async fn insert(&self, new: NewComment) -> Result<Option<AddedComment>>;

    /// Lists the comments of a post, newest first. Returns `None` if there is no such post.
    async fn list(
        &self,
        post: PostId,
        viewer: Option<UserId>,
        page: PageRequest,
    ) -> Result<Option<Page<CommentView>>>;

    /// Replaces the text of a comment of `author`.
    async fn update(
        &self,
        post: PostId,
        id: CommentId,
        author: UserId,
        content: CommentContent,
        at: DateTime<Utc>,
    ) -> Result<CommentEdit<CommentView>>;

    /// Deletes a comment of `author`, updates the counter and deletes the notification in one transaction.
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
    fn parse_trims_and_accepts_1_to_2000_characters() {
        assert_eq!(CommentContent::parse("  hi \n").unwrap().as_str(), "hi");
        assert!(CommentContent::parse("a\0b").is_err());
        for blank in [" \t ", "\u{200b}", "\u{2800}\u{3164} \u{feff}"] {
            assert_eq!(CommentContent::parse(blank).unwrap_err().rule, Rule::TooShort, "{blank:?}");
        }
        assert_eq!(CommentContent::parse(" 👩\u{200d}💻 ").unwrap().as_str(), "👩\u{200d}💻");
        assert!(CommentContent::parse(&format!(" {} ", "ß".repeat(2000))).is_ok());
        assert_eq!(CommentContent::parse(&"x".repeat(2001)).unwrap_err().rule, Rule::TooLong);
    }

    proptest! {
        #[test]
        fn parse_keeps_all_but_surrounding_white_space(
            before in "[ \t\r\n]{0,3}",
            written in "(?s)[^\x00]{0,60}",
            after in "[ \t\r\n]{0,3}",
        ) {
            let parsed = CommentContent::parse(&format!("{before}{written}{after}"));
            match written.trim() {
                blank if text::is_blank(blank) => prop_assert_eq!(parsed.unwrap_err().rule, Rule::TooShort),
                trimmed => {
                    let content = parsed.unwrap();
                    prop_assert_eq!(content.as_str(), trimmed);
                    prop_assert_eq!(CommentContent::parse(trimmed), Ok(content));
                }
            }
        }

        #[test]
        fn length_is_counted_in_characters(length in 1900usize..2100, character in "[^\\s\x00]") {
            prop_assume!(!text::is_blank(&character));
            prop_assert_eq!(CommentContent::parse(&character.repeat(length)).is_ok(), length <= 2000);
        }
    }
}
