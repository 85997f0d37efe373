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
        "p.id AS post_id, p.user_id, p.content, p.media_key, p.media_url,
         p.is_private, p.likes_count, p.comments_count, p.created_at AS posted_at, p.updated_at,
         EXISTS (SELECT 1 FROM likes l WHERE l.post_id = p.id AND l.user_id = ?) AS liked_by_me"
    };
}
pub(crate) use post_columns;

row! {
    #[derive(Queryable)]
    pub(crate) struct PostRow {
        pub(crate) post_id: i64,
        pub(crate) user_id: i64,
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

impl PostRow {
    pub(crate) fn view(self, author_username: String) -> PostView {
        PostView {
            id: PostId(self.post_id),
            author: UserId(self.user_id),
            author_username,
            content: self.content,
            media: self.media_key.map(|key| Media { key: MediaKey(key), url: self.media_url }),
            is_private: self.is_private,
            likes_count: self.likes_count,
            comments_count: self.comments_count,
            liked_by_me: self.liked_by_me,
            created_at: self.posted_at,
            updated_at: self.updated_at,
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
