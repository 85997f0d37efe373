//! A post as lists, details and writes return it.

use chrono::{DateTime, Utc};
use diesel::Queryable;
use domain::{
    media::{Media, MediaKey},
    posts::{NewPost, PostId, PostView},
    users::UserId,
};

use crate::sql::row::row;

/// The columns of a [`PostRow`] from `posts p`; the bind is the viewer.
macro_rules! post_columns {
    () => {
        "p.id AS post_id, p.user_id, p.author_name AS author_username, p.content, p.media_key, p.media_url,
         p.is_private, p.likes_count, p.comments_count, p.created_at AS posted_at, p.updated_at,
         EXISTS (SELECT 1 FROM likes l WHERE l.post_id = p.id AND l.user_id = ?) AS liked_by_me"
    };
}
pub(crate) use post_columns;

row! {
    #[derive(Queryable)]
    pub(crate) struct PostRow {
        post_id: i64,
        user_id: i64,
        author_username: String,
        content: Option<String>,
        media_key: Option<String>,
        media_url: Option<String>,
        is_private: bool,
        likes_count: i64,
        comments_count: i64,
        posted_at: DateTime<Utc>,
        updated_at: Option<DateTime<Utc>>,
        liked_by_me: bool,
    }
}

impl From<PostRow> for PostView {
    fn from(row: PostRow) -> Self {
        Self {
            id: PostId(row.post_id),
            author: UserId(row.user_id),
            author_username: row.author_username,
            content: row.content,
            media: row.media_key.map(|key| Media { key: MediaKey(key), url: row.media_url }),
            is_private: row.is_private,
            likes_count: row.likes_count,
            comments_count: row.comments_count,
            liked_by_me: row.liked_by_me,
            created_at: row.posted_at,
            updated_at: row.updated_at,
        }
    }
}

/// Returns a post that was just stored.
pub(crate) fn stored(new: NewPost, id: PostId, author_username: String) -> PostView {
    PostView {
        id,
        author: new.author,
        author_username,
        content: new.content.map(|content| content.as_str().to_owned()),
        media: new.media,
        is_private: new.is_private,
        likes_count: 0,
        comments_count: 0,
        liked_by_me: false,
        created_at: new.at,
        updated_at: None,
    }
}
