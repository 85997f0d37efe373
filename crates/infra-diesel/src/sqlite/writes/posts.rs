//! Posts.

use domain::posts::{NewPost, PostId, PostView};

use super::count;
use crate::{
    connection::Connection,
    error::DbError,
    repositories::{
        NumberRow,
        posts::{attach, find},
    },
    sql::statement::{Statement, sql},
};

pub(crate) async fn publish(tx: &mut Connection<'_>, new: NewPost) -> Result<Option<PostView>, DbError> {
    let (key, url) = new.media.clone().map_or((None, None), |media| (Some(media.key.0), media.url));
    let row = sql!(
        "INSERT INTO posts (user_id, author_name, content, media_key, media_url, is_private, created_at)
         VALUES (?, (SELECT username FROM users WHERE id = ?), ?, ?, ?, ?, ?) RETURNING id AS value",
        new.author.0,
        new.author.0,
        new.content.as_ref().map(|content| content.as_str().to_owned()),
        key,
        url,
        new.is_private,
        new.at
    )
    .first::<NumberRow>(tx)
    .await?;
    count(tx, new.author, 1, i64::from(new.is_private)).await?;
    attach(tx, new.media.as_ref()).await?;
    match row {
        Some(row) => find(tx, PostId(row.value), new.author).await,
        None => Ok(None),
    }
}
