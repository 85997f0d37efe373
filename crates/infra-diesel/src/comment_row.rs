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
        id: i64,
        post_id: i64,
        user_id: i64,
        author_name: String,
        content: String,
        created_at: DateTime<Utc>,
        updated_at: Option<DateTime<Utc>>,
    }
}

impl From<CommentRow> for CommentView {
    fn from(row: CommentRow) -> Self {
        Self {
            id: CommentId(row.id),
            post: PostId(row.post_id),
            author: UserId(row.user_id),
            author_username: row.author_name,
            content: row.content,
            created_at: row.created_at,
            updated_at: row.updated_at,
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
