//! Posts.

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use domain::posts::{NewPost, PostId, PostView};

use super::{ids, in_order, lock_timeout, random_shard};
use crate::{
    postgres::batch::{Batch, LockTimeout},
    schema::Timestamp,
    sql::{
        row::row,
        statement::{ArrayBind, Statement, sql},
    },
};

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
        let statement = sql!(
            concat!(
                "WITH input AS (
                   SELECT a.*, u.username, nextval('posts_id_seq') AS id
                   FROM unnest(?, ?, ?, ?, ?, ?) WITH ORDINALITY
                     AS a(user_id, content, media_key, media_url, is_private, at, n)
                   JOIN users u ON u.id = a.user_id
                   WHERE ", lock_timeout!(), "
                 ), stored AS (
                   INSERT INTO posts (id, user_id, author_name, content, media_key, media_url, is_private, created_at)
                   SELECT id, user_id, username, content, media_key, media_url, is_private, at FROM input
                 ), locked AS (
                   SELECT user_id FROM user_counters WHERE user_id IN (SELECT user_id FROM input)
                   ORDER BY user_id FOR NO KEY UPDATE
                 ), counted AS (
                   UPDATE user_counters c SET posts = c.posts + x.posts, private_posts = c.private_posts + x.private
                   FROM (SELECT user_id, count(*) AS posts, count(*) FILTER (WHERE is_private) AS private
                         FROM input JOIN locked USING (user_id) GROUP BY user_id) AS x
                   WHERE c.user_id = x.user_id RETURNING x.posts - x.private AS public
                 ), counted_public AS (
                   UPDATE public_post_counters c SET posts = c.posts + x.public
                   FROM (SELECT sum(public) AS public FROM counted) AS x WHERE c.shard = ? AND x.public > 0
                 ), unscheduled AS (
                   DELETE FROM media_deletions WHERE media_key = ANY (?)
                 )
                 SELECT n, id, username FROM input"
            ),
            ids(posts, |new| new.author.0),
            ArrayBind::OptionalTexts(posts.iter().map(text).collect()),
            ArrayBind::OptionalTexts(keys.clone()),
            ArrayBind::OptionalTexts(posts.iter().map(url).collect()),
            ArrayBind::Flags(posts.iter().map(|new| new.is_private).collect()),
            ArrayBind::Timestamps(posts.iter().map(|new| Timestamp(new.at)).collect()),
            lock_timeout.setting(),
            random_shard(),
            ArrayBind::Texts(keys.into_iter().flatten().collect())
        );
        let rows = statement.load_postgres::<StoredRow, _>(conn).await?;
        let stored = in_order(posts.len(), rows.into_iter().map(|row| (row.n, row)));
        Ok(posts.iter().zip(stored).map(|(new, row)| row.map(|row| row.view(new))).collect())
    }
}

impl StoredRow {
    fn view(self, new: &NewPost) -> PostView {
        PostView {
            id: PostId(self.id),
            author: new.author,
            author_username: self.username,
            content: new.content.as_ref().map(|content| content.as_str().to_owned()),
            media: new.media.clone(),
            is_private: new.is_private,
            likes_count: 0,
            comments_count: 0,
            liked_by_me: false,
            created_at: new.at,
            updated_at: None,
        }
    }
}
