//! Commenting.

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use domain::comments::{AddedComment, CommentId, CommentView, NewComment};

use super::{Told, ToldRow, ids, in_order};
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
    visibility::visible,
};

/// Adds a comment.
pub(crate) struct Commenting(NewComment);

row! {
    struct CommentedRow {
        n: i64,
        id: i64,
        username: String,
        told: Option<ToldRow>,
    }
}

impl Deed for Commenting {
    type Done = Option<AddedComment>;

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.commenting
    }

    async fn all(deeds: &[Self], conn: &mut AsyncPgConnection) -> QueryResult<Vec<Self::Done>> {
        let statement = sql!(
            concat!(
                "WITH ", target!(), ", asked AS (
                   SELECT a.*, u.username, p.user_id AS recipient_id, nextval('comments_id_seq') AS id
                   FROM unnest(?, ?, ?, ?) WITH ORDINALITY AS a(post_id, user_id, content, at, n)
                   JOIN target p ON p.id = a.post_id AND ", visible!("a.user_id"), "
                   JOIN users u ON u.id = a.user_id
                 ), added AS (
                   INSERT INTO comments (id, post_id, user_id, author_name, content, created_at)
                   SELECT id, post_id, user_id, username, content, at FROM asked
                 ), counted AS (
                   UPDATE posts p SET comments_count = p.comments_count + x.more
                   FROM (SELECT post_id, count(*) AS more FROM asked GROUP BY post_id) AS x WHERE p.id = x.post_id
                 ), news AS (
                   SELECT recipient_id, user_id AS actor_id, username AS actor_name, post_id, id, at
                   FROM asked WHERE recipient_id <> user_id
                 ), ", telling!("comment", "news.id"), "
                 SELECT a.n, a.id, a.username, told.id AS told_id, told.recipient_id, told.actor_name,
                   told.created_at AS told_at
                 FROM asked a LEFT JOIN told ON told.comment_id = a.id"
            ),
            ids(deeds, |Self(new)| new.post.0),
            ids(deeds, |Self(new)| new.post.0),
            ids(deeds, |Self(new)| new.author.0),
            ArrayBind::Texts(deeds.iter().map(|Self(new)| new.content.as_str().to_owned()).collect()),
            ArrayBind::Timestamps(deeds.iter().map(|Self(new)| Timestamp(new.at)).collect())
        );
        let rows = statement.load_postgres::<CommentedRow, _>(conn).await?;
        let added = in_order(deeds.len(), rows.into_iter().map(|row| (row.n, row)));
        Ok(deeds.iter().zip(added).map(|(Self(new), row)| row.map(|row| row.view(new))).collect())
    }
}

impl CommentedRow {
    fn view(self, new: &NewComment) -> AddedComment {
        let id = CommentId(self.id);
        let activity = Told::Comment(new.post, id);
        let notification = self.told.map(|told| told.view(new.author, activity));
        let comment = CommentView {
            id,
            post: new.post,
            author: new.author,
            author_username: self.username,
            content: new.content.as_str().to_owned(),
            created_at: new.at,
            updated_at: None,
        };
        AddedComment { comment, notification }
    }
}

pub(crate) async fn comment(to: &PostgresDb, new: NewComment) -> Result<Option<AddedComment>, DbError> {
    perform(&to.pools, Commenting(new)).await
}
