//! Comments.

use diesel::{ExpressionMethods as _, QueryDsl as _};
use domain::{
    comments::{AddedComment, CommentId, NewComment},
    notifications::Activity,
    users::UserId,
};

use super::notify;
use crate::{
    comment_row::stored,
    connection::Connection,
    error::DbError,
    repositories::usernames::username_of,
    schema::{Timestamp, comments, posts},
    visibility::visible_to,
};

/// Adds a comment. Returns `None` if the author may not see the post.
pub(crate) async fn insert(
    tx: &mut Connection<'_>,
    new: NewComment,
) -> Result<Option<AddedComment>, DbError> {
    let target = posts::table.find(new.post.0).filter(visible_to(new.author)).select(posts::user_id);
    let Some(recipient) = tx.first(target).await?.map(UserId) else { return Ok(None) };
    let Some(author_username) = username_of(tx, new.author).await? else { return Ok(None) };
    let insert = diesel::insert_into(comments::table)
        .values((
            comments::post_id.eq(new.post.0),
            comments::user_id.eq(new.author.0),
            comments::content.eq(new.content.as_str()),
            comments::created_at.eq(Timestamp(new.at)),
        ))
        .returning(comments::id);
    let Some(id) = tx.first::<i64, _>(insert).await? else { return Ok(None) };
    let comment = stored(&new, CommentId(id), author_username);
    let count = diesel::update(posts::table.find(new.post.0))
        .set(posts::comments_count.eq(posts::comments_count + 1));
    tx.execute(count).await?;
    let activity = Activity::Comment(new.post, comment.id);
    let notification = notify(tx, recipient, new.author, activity, new.at).await?;
    Ok(Some(AddedComment { comment, notification }))
}
