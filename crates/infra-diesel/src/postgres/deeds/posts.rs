//! Publishing.

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use domain::posts::{NewPost, PostId, PostView};

use super::{counter, ids, in_order};
use crate::{
    error::DbError,
    postgres::{
        database::PostgresDb,
        groups::{Deed, Group, Groups, perform},
    },
    schema::Timestamp,
    sql::{
        row::row,
        statement::{ArrayBind, Statement, sql},
    },
};

/// Stores a post with its counters; nobody can like it yet.
pub(crate) struct Publishing(NewPost);

row! {
    struct PublishedRow {
        n: i64,
        id: i64,
        username: String,
    }
}

impl Deed for Publishing {
    type Done = Option<PostView>;

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.publishing
    }

    async fn all(deeds: &[Self], conn: &mut AsyncPgConnection) -> QueryResult<Vec<Self::Done>> {
        let key = |post: &NewPost| post.media.as_ref().map(|media| media.key.0.clone());
        let keys: Vec<_> = deeds.iter().map(|Self(post)| key(post)).collect();
        let text = |post: &NewPost| post.content.as_ref().map(|content| content.as_str().to_owned());
        let statement = sql!(
            "WITH asked AS (
               SELECT a.*, u.username, nextval('posts_id_seq') AS id
               FROM unnest(?, ?, ?, ?, ?, ?) WITH ORDINALITY
                 AS a(user_id, content, media_key, media_url, is_private, at, n)
               JOIN users u ON u.id = a.user_id
             ), stored AS (
               INSERT INTO posts (id, user_id, author_name, content, media_key, media_url, is_private, created_at)
               SELECT id, user_id, username, content, media_key, media_url, is_private, at FROM asked
             ), locked AS (
               SELECT user_id FROM user_counters WHERE user_id IN (SELECT user_id FROM asked)
               ORDER BY user_id FOR NO KEY UPDATE
             ), counted AS (
               UPDATE user_counters c SET posts = c.posts + x.posts, private_posts = c.private_posts + x.private
               FROM (SELECT user_id, count(*) AS posts, count(*) FILTER (WHERE is_private) AS private
                     FROM asked JOIN locked USING (user_id) GROUP BY user_id) AS x
               WHERE c.user_id = x.user_id RETURNING x.posts - x.private AS public
             ), published AS (
               UPDATE public_post_counters c SET posts = c.posts + x.public
               FROM (SELECT sum(public) AS public FROM counted) AS x WHERE c.shard = ? AND x.public > 0
             ), settled AS (
               DELETE FROM media_deletions WHERE media_key = ANY (?)
             )
             SELECT n, id, username FROM asked",
            ids(deeds, |Self(post)| post.author.0),
            ArrayBind::OptionalTexts(deeds.iter().map(|Self(post)| text(post)).collect()),
            ArrayBind::OptionalTexts(keys.clone()),
            ArrayBind::OptionalTexts(
                deeds.iter().map(|Self(post)| post.media.as_ref().and_then(|media| media.url.clone())).collect()
            ),
            ArrayBind::Flags(deeds.iter().map(|Self(post)| post.is_private).collect()),
            ArrayBind::Timestamps(deeds.iter().map(|Self(post)| Timestamp(post.at)).collect()),
            counter(),
            ArrayBind::Texts(keys.into_iter().flatten().collect())
        );
        let rows = statement.load_postgres::<PublishedRow, _>(conn).await?;
        let stored = in_order(deeds.len(), rows.into_iter().map(|row| (row.n, row)));
        Ok(deeds.iter().zip(stored).map(|(Self(post), row)| row.map(|row| row.view(post))).collect())
    }
}

impl PublishedRow {
    fn view(self, post: &NewPost) -> PostView {
        PostView {
            id: PostId(self.id),
            author: post.author,
            author_username: self.username,
            content: post.content.as_ref().map(|content| content.as_str().to_owned()),
            media: post.media.clone(),
            is_private: post.is_private,
            likes_count: 0,
            comments_count: 0,
            liked_by_me: false,
            created_at: post.at,
            updated_at: None,
        }
    }
}

pub(crate) async fn publish(to: &PostgresDb, new: NewPost) -> Result<Option<PostView>, DbError> {
    perform(&to.pools, Publishing(new)).await
}
