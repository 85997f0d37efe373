//! A comment as lists and writes return it.

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable, pg::Pg, sqlite::Sqlite};
use domain::{
    comments::{CommentId, CommentView, NewComment},
    posts::PostId,
    users::UserId,
};

use crate::{schema::comments, sql::row::row};

row! {
    #[derive(Queryable, Selectable)]
    #[diesel(table_name = comments, check_for_backend(Pg, Sqlite))]
    pub(crate) struct CommentRow {
        pub(crate) id: i64,
        post_id: i64,
        pub(crate) user_id: i64,
        content: String,
        created_at: DateTime<Utc>,
        updated_at: Option<DateTime<Utc>>,
    }
}

impl CommentRow {
    pub(crate) fn view(self, author_username: String) -> CommentView {
        CommentView {
            id: CommentId(self.id),
            post: PostId(self.post_id),
            author: UserId(self.user_id),
            author_username,
            content: self.content,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// Returns a comment that was just stored.
pub(crate) fn stored(new: &NewComment, id: CommentId, author_username: String) -> CommentView {
    CommentView {
        id,
        post: new.post,
        author: new.author,
        author_username,
        content: new.content.as_str().to_owned(),
        created_at: new.at,
        updated_at: None,
    }
}
