//! Comments.

use domain::{
    comments::{AddedComment, CommentView, NewComment},
    notifications::Activity,
    users::UserId,
};

use super::{notify, target};
use crate::{
    connection::Connection,
    error::DbError,
    repositories::comments::CommentRow,
    sql::statement::{Statement, sql},
};

pub(crate) async fn comment(
    tx: &mut Connection<'_>,
    new: NewComment,
) -> Result<Option<AddedComment>, DbError> {
    let Some(target) = target(tx, new.post, new.author).await? else { return Ok(None) };
    let row = sql!(
        "INSERT INTO comments (post_id, user_id, author_name, content, created_at)
         VALUES (?, ?, (SELECT username FROM users WHERE id = ?), ?, ?)
         RETURNING id AS added_id, post_id AS commented_post, user_id AS author_id,
           author_name AS author_username, content, created_at AS commented_at, updated_at",
        new.post.0,
        new.author.0,
        new.author.0,
        new.content.as_str(),
        new.at
    )
    .first::<CommentRow>(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let comment = CommentView::from(row);
    sql!("UPDATE posts SET comments_count = comments_count + 1 WHERE id = ?", new.post.0).execute(tx).await?;
    let activity = Activity::Comment(new.post, comment.id);
    let notification = notify(tx, UserId(target.user_id), new.author, activity, new.at).await?;
    Ok(Some(AddedComment { comment, notification }))
}
