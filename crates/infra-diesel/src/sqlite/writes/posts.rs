//! Posts.

use diesel::ExpressionMethods as _;
use domain::posts::{NewPost, PostContent, PostId, PostView};

use crate::{
    connection::Connection,
    counters::count_posts,
    error::DbError,
    post_row::stored,
    repositories::media::cancel_deletion,
    repositories::usernames::username_of,
    schema::{Timestamp, posts},
};

/// Stores a post and cancels the scheduled deletion of its file.
pub(crate) async fn insert(tx: &mut Connection<'_>, new: NewPost) -> Result<Option<PostView>, DbError> {
    let Some(author_username) = username_of(tx, new.author).await? else { return Ok(None) };
    let (key, url) =
        new.media.as_ref().map_or((None, None), |media| (Some(&media.key.0), media.url.as_ref()));
    let media_bytes = match key {
        Some(key) => cancel_deletion(tx, key).await?,
        None => None,
    };
    let insert = diesel::insert_into(posts::table)
        .values((
            posts::user_id.eq(new.author.0),
            posts::content.eq(new.content.as_ref().map(PostContent::as_str)),
            posts::media_key.eq(key),
            posts::media_url.eq(url),
            posts::is_private.eq(new.is_private),
            posts::created_at.eq(Timestamp(new.at)),
            posts::media_bytes.eq(media_bytes.unwrap_or(0)),
        ))
        .returning(posts::id);
    let Some(id) = tx.first::<i64, _>(insert).await? else { return Ok(None) };
    count_posts(tx, new.author, 1, i64::from(new.is_private)).await?;
    Ok(Some(stored(new, PostId(id), author_username)))
}
