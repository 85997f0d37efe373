//! Deeds on PostgreSQL: each is one statement, one round trip, with its counters and its notification; most are done
//! by the group ([`super::groups`]).
//!
//! The parts of such a statement see one snapshot and reach each other by `RETURNING`. Locks are taken in one
//! order: posts by id, then the rows of `user_counters` by user, then a row that counts public posts, so that no two
//! deeds wait for each other. The ids of notifications are taken from rows that the update of their recipients' counters
//! returned, that is under their lock.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use domain::{
    comments::{AddedComment, CommentId, CommentView, NewComment},
    follows::{Follow, Unfollow},
    notifications::{Deed as Told, NotificationId, NotificationView, Withdrawn},
    posts::{Like, NewPost, PostId, PostView, Unlike},
    users::UserId,
};

use super::{
    Connection, Repositories,
    groups::{Deed, Group, Groups, perform},
    many::Many,
    repositories::{
        posts::visible,
        row::{Backend, Columns, row},
        statement::{Statement, sql},
    },
};
use crate::error::Fault;

/// How many rows count public posts.
const COUNTERS: i32 = 64;

/// One of those rows. Any will do: those who count at once seldom take the same.
fn counter() -> i32 {
    rand::random_range(0..COUNTERS)
}

/// Counts posts of an author, some of them private.
pub(super) async fn count(
    tx: &mut Connection,
    author: UserId,
    posts: i64,
    private: i64,
) -> Result<(), Fault> {
    let public = posts - private;
    sql!(
        "WITH counted AS (
           UPDATE user_counters SET posts = posts + ?, private_posts = private_posts + ? WHERE user_id = ? RETURNING 1
         )
         UPDATE public_post_counters c SET posts = c.posts + ? FROM counted WHERE c.shard = ? AND ? <> 0",
        posts,
        private,
        author.0,
        public,
        counter(),
        public
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What became of each of so many deeds, from rows that say which they are of: the first is 1.
fn in_order<T>(count: usize, rows: impl IntoIterator<Item = (i64, T)>) -> Vec<Option<T>> {
    let mut all: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    for (n, done) in rows {
        if let Some(place) = usize::try_from(n - 1).ok().and_then(|n| all.get_mut(n)) {
            *place = Some(done);
        }
    }
    all
}

fn ids<'a, D>(deeds: &'a [D], id: impl Fn(&'a D) -> i64) -> Many {
    Many::Ids(deeds.iter().map(id).collect())
}

/// Makes of the likes that a post has after all deeds of a group those that it has after each, as if one were done after
/// the other. Which were done at all is given; each adds `step`.
fn count_each<'a>(deeds: impl DoubleEndedIterator<Item = (PostId, bool, &'a mut i64)>, step: i64) {
    let mut later: HashMap<PostId, i64> = HashMap::new();
    for (post, is_done, likes_count) in deeds.rev() {
        let later = later.entry(post).or_default();
        *likes_count -= *later;
        *later += if is_done { step } else { 0 };
    }
}

/// Stores a post with its counters; nobody can like it yet.
pub(super) struct Publishing(NewPost);

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

    async fn all(deeds: &[Self], conn: &mut Connection) -> QueryResult<Vec<Self::Done>> {
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
            Many::OptionalTexts(deeds.iter().map(|Self(post)| text(post)).collect()),
            Many::OptionalTexts(keys.clone()),
            Many::OptionalTexts(
                deeds.iter().map(|Self(post)| post.media.as_ref().and_then(|media| media.url.clone())).collect()
            ),
            Many::Flags(deeds.iter().map(|Self(post)| post.is_private).collect()),
            Many::Moments(deeds.iter().map(|Self(post)| post.at).collect()),
            counter(),
            Many::Texts(keys.into_iter().flatten().collect())
        );
        let rows = statement.rows::<PublishedRow, _>(conn).await?;
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

pub(super) async fn publish(to: &Repositories, new: NewPost) -> Result<Option<PostView>, Fault> {
    perform(&to.pools, Publishing(new)).await
}

/// Locks the posts that a group is about, whoever may see them. The bind is their ids.
macro_rules! target {
    () => {
        "target AS (
           SELECT p.id, p.user_id, p.is_private, p.likes_count FROM posts p WHERE p.id = ANY (?)
           ORDER BY p.id FOR NO KEY UPDATE
         )"
    };
}

/// Counts `news` for its recipients, and tells them; the kind and the comment come from the caller. A notification is
/// never older than the recipient's last.
macro_rules! telling {
    ($kind:literal, $comment:literal) => {
        concat!(
            "locked AS (
               SELECT user_id FROM user_counters WHERE user_id IN (SELECT recipient_id FROM news)
               ORDER BY user_id FOR NO KEY UPDATE
             ), box AS (
               UPDATE user_counters c SET notifications = c.notifications + x.more, unread = c.unread + x.more,
                 last_notification_at = greatest(c.last_notification_at, x.at)
               FROM (SELECT recipient_id, count(*) AS more, max(at) AS at
                     FROM news JOIN locked ON user_id = recipient_id GROUP BY recipient_id) AS x
               WHERE c.user_id = x.recipient_id RETURNING c.user_id, c.last_notification_at
             ), told AS (
               INSERT INTO notifications (recipient_id, actor_id, actor_name, kind, post_id, comment_id, created_at)
               SELECT recipient_id, actor_id, actor_name, '", $kind, "', post_id, ", $comment, ", box.last_notification_at
               FROM news JOIN box ON box.user_id = news.recipient_id
               RETURNING id, recipient_id, actor_id, actor_name, post_id, comment_id, created_at
             )"
        )
    };
}

row! {
    struct ToldRow {
        told_id: i64,
        recipient_id: i64,
        actor_name: String,
        told_at: DateTime<Utc>,
    }
}

impl ToldRow {
    fn view(self, actor: UserId, deed: Told) -> NotificationView {
        NotificationView {
            id: NotificationId(self.told_id),
            recipient: UserId(self.recipient_id),
            actor,
            actor_username: self.actor_name,
            deed,
            is_read: false,
            created_at: self.told_at,
        }
    }
}

/// Likes a post.
pub(super) struct Liking {
    post: PostId,
    user: UserId,
    at: DateTime<Utc>,
}

row! {
    struct LikedRow {
        n: i64,
        is_new: bool,
        likes_count: i64,
        told: Option<ToldRow>,
    }
}

impl Deed for Liking {
    type Done = Option<Like>;

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.liking
    }

    async fn all(deeds: &[Self], conn: &mut Connection) -> QueryResult<Vec<Self::Done>> {
        let statement = sql!(
            concat!(
                "WITH asked AS (
                   SELECT * FROM unnest(?, ?, ?) WITH ORDINALITY AS a(post_id, user_id, at, n)
                 ), ", target!(), ", fresh AS (
                   INSERT INTO likes (post_id, user_id, created_at)
                   SELECT a.post_id, a.user_id, a.at FROM asked a JOIN target p ON p.id = a.post_id
                   WHERE ", visible!("a.user_id"), "
                   ON CONFLICT DO NOTHING RETURNING post_id, user_id, created_at
                 ), counted AS (
                   UPDATE posts p SET likes_count = p.likes_count + x.more
                   FROM (SELECT post_id, count(*) AS more FROM fresh GROUP BY post_id) AS x
                   WHERE p.id = x.post_id RETURNING p.id, p.likes_count
                 ), news AS (
                   SELECT p.user_id AS recipient_id, u.id AS actor_id, u.username AS actor_name, p.id AS post_id,
                     f.created_at AS at
                   FROM fresh f JOIN target p ON p.id = f.post_id JOIN users u ON u.id = f.user_id
                   WHERE p.user_id <> u.id
                 ), ", telling!("like", "NULL"), "
                 SELECT a.n, f.post_id IS NOT NULL AS is_new, coalesce(c.likes_count, p.likes_count) AS likes_count,
                   told.id AS told_id, told.recipient_id, told.actor_name, told.created_at AS told_at
                 FROM asked a JOIN target p ON p.id = a.post_id
                 LEFT JOIN fresh f ON f.post_id = a.post_id AND f.user_id = a.user_id
                 LEFT JOIN counted c ON c.id = a.post_id
                 LEFT JOIN told ON told.post_id = a.post_id AND told.actor_id = a.user_id
                 WHERE ", visible!("a.user_id")
            ),
            ids(deeds, |deed| deed.post.0),
            ids(deeds, |deed| deed.user.0),
            Many::Moments(deeds.iter().map(|deed| deed.at).collect()),
            ids(deeds, |deed| deed.post.0)
        );
        let rows = statement.rows::<LikedRow, _>(conn).await?;
        let mut rows = in_order(deeds.len(), rows.into_iter().map(|row| (row.n, row))).into_iter();
        let mut seen = HashSet::new();
        let like = |deed: &Self| {
            let row = rows.next().flatten()?;
            // Of the same like twice in a group, the first one is it.
            let is_new = row.is_new && seen.insert((deed.post, deed.user));
            let told = row.told.filter(|_| is_new);
            let notification = told.map(|told| told.view(deed.user, Told::Like(deed.post)));
            Some(Like { is_new, likes_count: row.likes_count, notification })
        };
        let mut done: Vec<_> = deeds.iter().map(like).collect();
        let likes = deeds.iter().zip(&mut done).filter_map(|(deed, like)| {
            like.as_mut().map(|like| (deed.post, like.is_new, &mut like.likes_count))
        });
        count_each(likes, 1);
        Ok(done)
    }
}

pub(super) async fn like(
    to: &Repositories,
    post: PostId,
    user: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Like>, Fault> {
    perform(&to.pools, Liking { post, user, at }).await
}

/// Takes a like back.
pub(super) struct Unliking {
    post: PostId,
    user: UserId,
}

row! {
    struct UnlikedRow {
        n: i64,
        was_liked: bool,
        likes_count: i64,
        withdrawn: Option<WithdrawnRow>,
    }
}

row! {
    struct WithdrawnRow {
        withdrawn_id: i64,
        recipient_id: i64,
        unread: i64,
    }
}

impl From<WithdrawnRow> for Withdrawn {
    fn from(row: WithdrawnRow) -> Self {
        Self {
            recipient: UserId(row.recipient_id),
            id: NotificationId(row.withdrawn_id),
            unread_count: row.unread,
        }
    }
}

impl Deed for Unliking {
    type Done = Option<Unlike>;

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.unliking
    }

    async fn all(deeds: &[Self], conn: &mut Connection) -> QueryResult<Vec<Self::Done>> {
        let statement = sql!(
            concat!(
                "WITH asked AS (
                   SELECT * FROM unnest(?, ?) WITH ORDINALITY AS a(post_id, user_id, n)
                 ), ", target!(), ", gone AS (
                   DELETE FROM likes l USING asked a JOIN target p ON p.id = a.post_id
                   WHERE l.post_id = a.post_id AND l.user_id = a.user_id
                     AND ", visible!("a.user_id"), "
                   RETURNING l.post_id, l.user_id, p.user_id AS recipient_id
                 ), counted AS (
                   UPDATE posts p SET likes_count = p.likes_count - x.less
                   FROM (SELECT post_id, count(*) AS less FROM gone GROUP BY post_id) AS x
                   WHERE p.id = x.post_id RETURNING p.id, p.likes_count
                 ), locked AS (
                   SELECT user_id FROM user_counters WHERE user_id IN (SELECT recipient_id FROM gone)
                   ORDER BY user_id FOR NO KEY UPDATE
                 ), untold AS (
                   DELETE FROM notifications n USING gone JOIN locked ON locked.user_id = gone.recipient_id
                   WHERE n.post_id = gone.post_id AND n.actor_id = gone.user_id AND coalesce(n.comment_id, 0) = 0
                     AND n.recipient_id = gone.recipient_id
                   RETURNING n.id, n.recipient_id, n.actor_id, n.post_id, n.is_read
                 ), box AS (
                   UPDATE user_counters c SET notifications = c.notifications - x.less, unread = c.unread - x.unread
                   FROM (SELECT recipient_id, count(*) AS less, count(*) FILTER (WHERE NOT is_read) AS unread
                         FROM untold GROUP BY recipient_id) AS x
                   WHERE c.user_id = x.recipient_id RETURNING c.user_id, c.unread
                 )
                 SELECT a.n, gone.post_id IS NOT NULL AS was_liked, coalesce(c.likes_count, p.likes_count) AS likes_count,
                   untold.id AS withdrawn_id, untold.recipient_id, box.unread
                 FROM asked a JOIN target p ON p.id = a.post_id
                 LEFT JOIN gone ON gone.post_id = a.post_id AND gone.user_id = a.user_id
                 LEFT JOIN counted c ON c.id = a.post_id
                 LEFT JOIN untold ON untold.post_id = a.post_id AND untold.actor_id = a.user_id
                 LEFT JOIN box ON box.user_id = untold.recipient_id
                 WHERE ", visible!("a.user_id")
            ),
            ids(deeds, |deed| deed.post.0),
            ids(deeds, |deed| deed.user.0),
            ids(deeds, |deed| deed.post.0)
        );
        let rows = statement.rows::<UnlikedRow, _>(conn).await?;
        let mut rows = in_order(deeds.len(), rows.into_iter().map(|row| (row.n, row))).into_iter();
        let mut seen = HashSet::new();
        let unlike = |deed: &Self| {
            let row = rows.next().flatten()?;
            // As for likes.
            let was_liked = row.was_liked && seen.insert((deed.post, deed.user));
            let withdrawn = row.withdrawn.filter(|_| was_liked).map(Into::into);
            Some(Unlike { was_liked, likes_count: row.likes_count, withdrawn })
        };
        let mut done: Vec<_> = deeds.iter().map(unlike).collect();
        let unlikes = deeds.iter().zip(&mut done).filter_map(|(deed, unlike)| {
            unlike.as_mut().map(|unlike| (deed.post, unlike.was_liked, &mut unlike.likes_count))
        });
        count_each(unlikes, -1);
        Ok(done)
    }
}

pub(super) async fn unlike(to: &Repositories, post: PostId, user: UserId) -> Result<Option<Unlike>, Fault> {
    perform(&to.pools, Unliking { post, user }).await
}

/// Adds a comment.
pub(super) struct Commenting(NewComment);

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

    async fn all(deeds: &[Self], conn: &mut Connection) -> QueryResult<Vec<Self::Done>> {
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
            Many::Texts(deeds.iter().map(|Self(new)| new.content.as_str().to_owned()).collect()),
            Many::Moments(deeds.iter().map(|Self(new)| new.at).collect())
        );
        let rows = statement.rows::<CommentedRow, _>(conn).await?;
        let added = in_order(deeds.len(), rows.into_iter().map(|row| (row.n, row)));
        Ok(deeds.iter().zip(added).map(|(Self(new), row)| row.map(|row| row.view(new))).collect())
    }
}

impl CommentedRow {
    fn view(self, new: &NewComment) -> AddedComment {
        let id = CommentId(self.id);
        let deed = Told::Comment(new.post, id);
        let notification = self.told.map(|told| told.view(new.author, deed));
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

pub(super) async fn comment(to: &Repositories, new: NewComment) -> Result<Option<AddedComment>, Fault> {
    perform(&to.pools, Commenting(new)).await
}

row! {
    struct FollowedRow {
        is_new: bool,
        told: Option<ToldRow>,
    }
}

pub(super) async fn follow(
    to: &Repositories,
    follower: UserId,
    followee: UserId,
    at: DateTime<Utc>,
) -> Result<Option<Follow>, Fault> {
    let (mine, theirs) = (follower.0, followee.0);
    let row = sql!(
        "WITH target AS (
           SELECT f.id, f.username AS followee_name, u.username AS follower_name
           FROM users f JOIN users u ON u.id = ? WHERE f.id = ? AND f.is_active AND f.is_verified
         ), locked AS (
           SELECT user_id FROM user_counters WHERE user_id IN (?, ?) AND EXISTS (SELECT 1 FROM target)
           ORDER BY user_id FOR NO KEY UPDATE
         ), fresh AS (
           INSERT INTO follows (follower_id, followee_id, created_at, follower_name, followee_name)
           SELECT ?, id, ?, follower_name, followee_name FROM target WHERE (SELECT count(*) FROM locked) = 2
           ON CONFLICT DO NOTHING RETURNING followee_id, created_at AS at
         ), counted AS (
           UPDATE user_counters c SET following = c.following + 1 FROM fresh WHERE c.user_id = ?
         ), box AS (
           UPDATE user_counters c SET followers = c.followers + 1, notifications = c.notifications + 1,
             unread = c.unread + 1, last_notification_at = greatest(c.last_notification_at, fresh.at)
           FROM fresh WHERE c.user_id = fresh.followee_id RETURNING c.user_id, c.last_notification_at
         ), told AS (
           INSERT INTO notifications (recipient_id, actor_id, actor_name, kind, created_at)
           SELECT user_id, ?, follower_name, 'follow', last_notification_at FROM box, target
           RETURNING id, recipient_id, actor_name, created_at
         )
         SELECT EXISTS (SELECT 1 FROM fresh) AS is_new, told.id AS told_id, told.recipient_id, told.actor_name,
           told.created_at AS told_at
         FROM target LEFT JOIN told ON true",
        mine,
        theirs,
        mine,
        theirs,
        mine,
        at,
        mine,
        mine
    )
    .first::<FollowedRow, _>(&mut *to.writer().await?)
    .await?;
    Ok(row.map(|row| Follow {
        is_new: row.is_new,
        notification: row.told.map(|told| told.view(follower, Told::Follow)),
    }))
}

row! {
    struct UnfollowedRow {
        was_following: bool,
        withdrawn: Option<WithdrawnRow>,
    }
}

pub(super) async fn unfollow(
    to: &Repositories,
    follower: UserId,
    followee: UserId,
) -> Result<Option<Unfollow>, Fault> {
    let (mine, theirs) = (follower.0, followee.0);
    let row = sql!(
        "WITH target AS (
           SELECT id FROM users WHERE id = ? AND is_active AND is_verified
         ), locked AS (
           SELECT user_id FROM user_counters WHERE user_id IN (?, ?) AND EXISTS (SELECT 1 FROM target)
           ORDER BY user_id FOR NO KEY UPDATE
         ), gone AS (
           DELETE FROM follows WHERE follower_id = ? AND followee_id = (SELECT id FROM target)
             AND (SELECT count(*) FROM locked) = 2
           RETURNING followee_id
         ), counted AS (
           UPDATE user_counters c SET following = c.following - 1 FROM gone WHERE c.user_id = ?
         ), untold AS (
           DELETE FROM notifications n USING gone
           WHERE n.recipient_id = gone.followee_id AND n.actor_id = ? AND n.kind = 'follow'
           RETURNING n.id, n.recipient_id, n.is_read
         ), box AS (
           UPDATE user_counters c SET followers = c.followers - 1,
             notifications = c.notifications - (SELECT count(*) FROM untold),
             unread = c.unread - (SELECT count(*) FROM untold WHERE NOT is_read)
           FROM gone WHERE c.user_id = gone.followee_id
           RETURNING c.user_id AS recipient_id, c.unread, (SELECT id FROM untold) AS withdrawn_id
         )
         SELECT EXISTS (SELECT 1 FROM gone) AS was_following, box.withdrawn_id, box.recipient_id, box.unread
         FROM target LEFT JOIN box ON true",
        theirs,
        mine,
        theirs,
        mine,
        mine,
        mine
    )
    .first::<UnfollowedRow, _>(&mut *to.writer().await?)
    .await?;
    Ok(row.map(|row| Unfollow { was_following: row.was_following, withdrawn: row.withdrawn.map(Into::into) }))
}
