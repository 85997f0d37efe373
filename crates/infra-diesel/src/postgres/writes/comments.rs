//! Comments.

use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::{
    comments::{AddedComment, CommentId, NewComment},
    notifications::Activity,
};

use super::{NotifiedRow, ids, in_order, notify, target};
use crate::{
    comment_row::stored,
    postgres::batch::{Batch, LockTimeout},
    schema::Timestamp,
    sql::{
        row::{Decoded, row},
        statement::statements,
    },
    visibility::visible,
};

statements! {
    Postgres: ADD_COMMENTS(Vec<i64>, &'static str, Vec<i64>, Vec<i64>, Vec<String>, Vec<Timestamp>) = concat!(
        "WITH ", target!(), ", input AS (
           SELECT a.*, u.username, p.user_id AS recipient_id, nextval('comments_id_seq') AS id
           FROM unnest(?, ?, ?, ?) WITH ORDINALITY AS a(post_id, user_id, content, at, n)
           JOIN target p ON p.id = a.post_id AND ", visible!("a.user_id"), "
           JOIN users u ON u.id = a.user_id
         ), added AS (
           INSERT INTO comments (id, post_id, user_id, content, created_at)
           SELECT id, post_id, user_id, content, at FROM input
         ), counted AS (
           UPDATE posts p SET comments_count = p.comments_count + x.more
           FROM (SELECT post_id, count(*) AS more FROM input GROUP BY post_id) AS x WHERE p.id = x.post_id
         ), event AS (
           SELECT recipient_id, user_id AS actor_id, post_id, id, at
           FROM input WHERE recipient_id <> user_id
         ), ", notify!("comment", "event.id"), "
         SELECT i.n, i.id, i.username, notified.id AS notification_id, notified.recipient_id,
           notified.created_at AS notified_at
         FROM input i LEFT JOIN notified ON notified.comment_id = i.id"
    );
}

/// Adds comments. The output is `None` if the author may not see the post.
pub(crate) struct CommentBatch;

row! {
    struct AddedRow {
        n: i64,
        id: i64,
        username: String,
        notification: Option<NotifiedRow>,
    }
}

impl Batch for CommentBatch {
    type Write = NewComment;
    type Output = Option<AddedComment>;

    fn locked_row(new: &NewComment) -> i64 {
        new.post.0
    }

    async fn execute(
        comments: &[NewComment],
        lock_timeout: LockTimeout,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Vec<Self::Output>> {
        let statement = ADD_COMMENTS.with((
            ids(comments, |new| new.post.0),
            lock_timeout.setting(),
            ids(comments, |new| new.post.0),
            ids(comments, |new| new.author.0),
            comments.iter().map(|new| new.content.as_str().to_owned()).collect(),
            comments.iter().map(|new| Timestamp(new.at)).collect(),
        ));
        let rows: Vec<Decoded<AddedRow>> = RunQueryDsl::load(statement, conn).await?;
        let added = in_order(comments.len(), rows.into_iter().map(|Decoded(row)| (row.n, row)));
        Ok(comments.iter().zip(added).map(|(new, row)| row.map(|row| row.view(new))).collect())
    }
}

impl AddedRow {
    fn view(self, new: &NewComment) -> AddedComment {
        let id = CommentId(self.id);
        let activity = Activity::Comment(new.post, id);
        let notification =
            self.notification.map(|notified| notified.view(new.author, self.username.clone(), activity));
        let comment = stored(new, id, self.username);
        AddedComment { comment, notification }
    }
}
