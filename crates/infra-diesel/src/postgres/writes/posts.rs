//! Posts.

use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::posts::{NewPost, PostId, PostView};

use super::{ids, in_order, lock_timeout};
use crate::{
    post_row::stored,
    postgres::batch::{Batch, LockTimeout},
    schema::Timestamp,
    sql::{
        row::{Decoded, row},
        statement::statements,
    },
};

statements! {
    Postgres: STORE_POSTS(Vec<i64>, Vec<Option<String>>, Vec<Option<String>>, Vec<Option<String>>, Vec<bool>, Vec<Timestamp>, &'static str, Vec<String>) = concat!(
        "WITH input AS (
           SELECT a.*, u.username, nextval('posts_id_seq') AS id
           FROM unnest(?, ?, ?, ?, ?, ?) WITH ORDINALITY
             AS a(user_id, content, media_key, media_url, is_private, at, n)
           JOIN users u ON u.id = a.user_id
           WHERE ", lock_timeout!(), "
         ), locked AS (
           SELECT user_id FROM user_counters WHERE user_id IN (SELECT user_id FROM input)
           ORDER BY user_id FOR NO KEY UPDATE
         ), unscheduled AS (
           DELETE FROM media_deletions WHERE media_key = ANY (?) AND (SELECT count(*) FROM locked) > 0
           RETURNING media_key, bytes
         ), stored AS (
           INSERT INTO posts (id, user_id, content, media_key, media_url, is_private, created_at, media_bytes)
           SELECT id, user_id, content, media_key, media_url, is_private, at, coalesce(bytes, 0)
           FROM input LEFT JOIN unscheduled USING (media_key)
         ), counted AS (
           UPDATE user_counters c SET posts = c.posts + x.posts, private_posts = c.private_posts + x.private
           FROM (SELECT user_id, count(*) AS posts, count(*) FILTER (WHERE is_private) AS private
                 FROM input JOIN locked USING (user_id) GROUP BY user_id) AS x
           WHERE c.user_id = x.user_id
         )
         SELECT n, id, username FROM input"
    );
}

/// Stores posts and cancels the scheduled deletions of their files. The output is `None` if the author does not exist.
pub(crate) struct PostBatch;

row! {
    struct StoredRow {
        n: i64,
        id: i64,
        username: String,
    }
}

impl Batch for PostBatch {
    type Write = NewPost;
    type Output = Option<PostView>;

    /// The author's row of `user_counters`.
    fn locked_row(new: &NewPost) -> i64 {
        new.author.0
    }

    async fn execute(
        posts: &[NewPost],
        lock_timeout: LockTimeout,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Vec<Self::Output>> {
        let key = |new: &NewPost| new.media.as_ref().map(|media| media.key.0.clone());
        let keys: Vec<_> = posts.iter().map(key).collect();
        let text = |new: &NewPost| new.content.as_ref().map(|content| content.as_str().to_owned());
        let url = |new: &NewPost| new.media.as_ref().and_then(|media| media.url.clone());
        let statement = STORE_POSTS.with((
            ids(posts, |new| new.author.0),
            posts.iter().map(text).collect(),
            keys.clone(),
            posts.iter().map(url).collect(),
            posts.iter().map(|new| new.is_private).collect(),
            posts.iter().map(|new| Timestamp(new.at)).collect(),
            lock_timeout.setting(),
            keys.into_iter().flatten().collect(),
        ));
        let rows: Vec<Decoded<StoredRow>> = RunQueryDsl::load(statement, conn).await?;
        let rows = in_order(posts.len(), rows.into_iter().map(|Decoded(row)| (row.n, row)));
        Ok(posts
            .iter()
            .zip(rows)
            .map(|(new, row)| row.map(|row| stored(new.clone(), PostId(row.id), row.username)))
            .collect())
    }
}
