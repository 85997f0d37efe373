//! A made-up network, in a few statements that both databases know.
//!
//! What looks like chance is arithmetic on the number of the row, so that a seed makes the same network everywhere.
//! Popularity is skewed, as in life: the post, or the user, at the k-th part of the list is met about 1/√k as often.

use super::{
    super::{Connection, INDEXES},
    NumberRow,
    row::{Backend, Columns, row},
    statement::{Statement, sql},
};
use crate::{error::Fault, seed::Seed};

/// The rows `drawn`: numbers `i` from 1 to the first bind, each with `a` and `b`, which look like chance, from 0 to
/// 2³¹ - 2. The other two binds are salts. A product of a number and its own upper bits is in no simple relation
/// to the row's number any more, and stays below 2⁴⁸.
macro_rules! drawn {
    () => {
        "WITH RECURSIVE numbers (i) AS (
           SELECT CAST(1 AS bigint) UNION ALL SELECT i + 1 FROM numbers WHERE i < ?
         ), salted AS (
           SELECT i, (i * 1103515245 + ?) % 2147483647 AS a, (i * 1664525069 + ?) % 2147483647 AS b FROM numbers
         ), drawn AS (
           SELECT i, (a * (a / 32768 + 1)) % 2147483647 AS a, (b * (b / 32768 + 1)) % 2147483647 AS b FROM salted
         )"
    };
}

/// One of as many as the bind says, each as likely.
macro_rules! any {
    ($drawn:literal) => {
        concat!("1 + ? * ", $drawn, " / 2147483648")
    };
}

/// One of as many as the bind says, the first ones more likely.
macro_rules! popular {
    ($drawn:literal) => {
        concat!("1 + ? * (", $drawn, " * ", $drawn, " / 2147483648) / 2147483648")
    };
}

/// When the row `i` came about; the binds are when the first one did and how many there are.
macro_rules! spread {
    () => {
        moment!("? + i * 10000000 / ?")
    };
}

/// In seconds since 1970: 2025 begins. Posts take 10,000,000 seconds from here, deeds the same time again.
const FIRST_POST: i64 = 1_735_689_600;
const FIRST_DEED: i64 = FIRST_POST + 10_000_000;

/// Whether nobody has an account yet.
pub(in super::super) async fn is_new(conn: &mut Connection) -> Result<bool, Fault> {
    let row =
        sql!("SELECT CAST(count(*) AS bigint) AS value FROM (SELECT id FROM users LIMIT 1) AS u").first(conn);
    Ok(row.await?.is_none_or(|NumberRow { value }| value == 0))
}

/// Makes the network of this seed. Each statement is to run in one transaction with the others.
pub(in super::super) async fn fill(conn: &mut Connection, seed: &Seed) -> Result<(), Fault> {
    let salt = |table: i64| (i64::from(seed.seed) * 7_919 + table * 104_729) % 2_147_483_647;
    users(conn, seed).await?;
    // Rows first: to put millions into an index one by one takes several times as long as to make it of them.
    let indexes = sql!(INDEXES).load::<IndexRow, _>(conn).await?;
    for index in &indexes {
        run(conn, &index.undo).await?;
    }
    if seed.posts > 0 {
        posts(conn, seed, salt(1), salt(2)).await?;
        likes(conn, seed, salt(3), salt(4)).await?;
        comments(conn, seed, salt(5), salt(6)).await?;
    }
    follows(conn, seed, salt(7), salt(8)).await?;
    notifications(conn).await?;
    count(conn).await?;
    for index in &indexes {
        run(conn, &index.redo).await?;
    }
    Ok(())
}

row! {
    /// An index that the seed does without: what drops it, and what makes it again.
    struct IndexRow {
        undo: String,
        redo: String,
    }
}

async fn run(conn: &mut Connection, statement: &str) -> Result<(), Fault> {
    diesel_async::RunQueryDsl::execute(diesel::sql_query(statement), conn).await?;
    Ok(())
}

async fn users(conn: &mut Connection, seed: &Seed) -> Result<(), Fault> {
    sql!(
        concat!(
            drawn!(),
            "INSERT INTO users (id, username, email, password_hash, created_at)
             SELECT i, 'user' || i, 'user' || i || '@example.com', ?, ",
            moment!("? + i * 0"),
            " FROM drawn"
        ),
        seed.users,
        0_i64,
        0_i64,
        seed.password.0.clone(),
        FIRST_POST
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn posts(conn: &mut Connection, seed: &Seed, a: i64, b: i64) -> Result<(), Fault> {
    sql!(
        concat!(
            drawn!(),
            "INSERT INTO posts (id, user_id, author_name, content, is_private, created_at)
             SELECT i, ",
            any!("a"),
            ", 'user' || ",
            any!("a"),
            ", 'Post ' || i || ': ' || substr('Some text, as long as people write it: now a few words, now a line or
two, seldom more. What it says is of no account; how long it is decides what a page of it costs to read, to turn into
JSON and to send, and so it should be neither always the same nor anything that would compress to nothing.', 1,
               CAST(20 + b % 280 AS integer)), i % 20 = 0, ",
            spread!(),
            " FROM drawn"
        ),
        seed.posts,
        a,
        b,
        seed.users,
        seed.users,
        FIRST_POST,
        seed.posts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Nobody likes or comments on a private post: the public one before it is meant.
macro_rules! public_post {
    () => {
        concat!("(SELECT i, ", any!("b"), " AS user_id, ", popular!("a"), " AS drawn_id FROM drawn) AS d")
    };
}

async fn likes(conn: &mut Connection, seed: &Seed, a: i64, b: i64) -> Result<(), Fault> {
    if seed.likes == 0 {
        return Ok(());
    }
    sql!(
        concat!(
            drawn!(),
            "INSERT INTO likes (post_id, user_id, created_at)
             SELECT drawn_id - CASE WHEN drawn_id % 20 = 0 THEN 1 ELSE 0 END, user_id, ",
            spread!(),
            " FROM ",
            public_post!(),
            " WHERE true ON CONFLICT DO NOTHING"
        ),
        seed.likes,
        a,
        b,
        FIRST_DEED,
        seed.likes,
        seed.users,
        seed.posts
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn comments(conn: &mut Connection, seed: &Seed, a: i64, b: i64) -> Result<(), Fault> {
    if seed.comments == 0 {
        return Ok(());
    }
    sql!(
        concat!(
            drawn!(),
            "INSERT INTO comments (id, post_id, user_id, author_name, content, created_at)
             SELECT i, drawn_id - CASE WHEN drawn_id % 20 = 0 THEN 1 ELSE 0 END, user_id, 'user' || user_id,
               'Comment ' || i || ', of about the length that comments have', ",
            spread!(),
            " FROM ",
            public_post!()
        ),
        seed.comments,
        a,
        b,
        FIRST_DEED,
        seed.comments,
        seed.users,
        seed.posts
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn follows(conn: &mut Connection, seed: &Seed, a: i64, b: i64) -> Result<(), Fault> {
    if seed.follows == 0 {
        return Ok(());
    }
    sql!(
        concat!(
            drawn!(),
            "INSERT INTO follows (follower_id, followee_id, created_at, follower_name, followee_name)
             SELECT follower_id, followee_id, ",
            spread!(),
            ", 'user' || follower_id, 'user' || followee_id FROM (SELECT i, ",
            any!("b"),
            " AS follower_id, ",
            popular!("a"),
            " AS followee_id FROM drawn) AS d
             WHERE follower_id <> followee_id ON CONFLICT DO NOTHING"
        ),
        seed.follows,
        a,
        b,
        FIRST_DEED,
        seed.follows,
        seed.users,
        seed.users
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Everybody is told of what others did, in the order in which they did it; about half has been read.
async fn notifications(conn: &mut Connection) -> Result<(), Fault> {
    sql!(
        "INSERT INTO notifications (recipient_id, actor_id, actor_name, kind, post_id, comment_id, is_read, created_at)
         SELECT recipient_id, actor_id, 'user' || actor_id, kind, post_id, comment_id, (recipient_id + actor_id) % 2 = 0, created_at FROM (
           SELECT p.user_id AS recipient_id, l.user_id AS actor_id, 'like' AS kind, l.post_id,
             CAST(NULL AS bigint) AS comment_id, l.created_at
           FROM likes l JOIN posts p ON p.id = l.post_id WHERE p.user_id <> l.user_id
           UNION ALL
           SELECT p.user_id, c.user_id, 'comment', c.post_id, c.id, c.created_at
           FROM comments c JOIN posts p ON p.id = c.post_id WHERE p.user_id <> c.user_id
           UNION ALL
           SELECT followee_id, follower_id, 'follow', NULL, NULL, created_at FROM follows
         ) AS told
         ORDER BY created_at, kind, actor_id, recipient_id, post_id"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Brings every counter to what the rows say.
async fn count(conn: &mut Connection) -> Result<(), Fault> {
    for statement in [
        sql!(
            "UPDATE posts SET likes_count = counted.likes, comments_count = counted.comments FROM (
               SELECT post_id, sum(likes) AS likes, sum(comments) AS comments FROM (
                 SELECT post_id, 1 AS likes, 0 AS comments FROM likes
                 UNION ALL SELECT post_id, 0, 1 FROM comments) AS deeds
               GROUP BY post_id) AS counted
             WHERE counted.post_id = posts.id"
        ),
        sql!(concat!(
            "INSERT INTO user_counters
               (user_id, posts, private_posts, followers, following, notifications, unread, last_notification_at)
             SELECT u.id, coalesce(p.posts, 0), coalesce(p.private, 0), coalesce(f.followers, 0),
               coalesce(g.following, 0), coalesce(n.notifications, 0), coalesce(n.unread, 0), coalesce(n.last, ",
            never!(),
            ") FROM users u
             LEFT JOIN (SELECT user_id, count(*) AS posts, sum(CASE WHEN is_private THEN 1 ELSE 0 END) AS private
               FROM posts GROUP BY user_id) AS p ON p.user_id = u.id
             LEFT JOIN (SELECT followee_id, count(*) AS followers FROM follows GROUP BY followee_id) AS f
               ON f.followee_id = u.id
             LEFT JOIN (SELECT follower_id, count(*) AS following FROM follows GROUP BY follower_id) AS g
               ON g.follower_id = u.id
             LEFT JOIN (SELECT recipient_id, count(*) AS notifications, max(created_at) AS last,
               sum(CASE WHEN is_read THEN 0 ELSE 1 END) AS unread FROM notifications GROUP BY recipient_id) AS n
               ON n.recipient_id = u.id"
        )),
        sql!(
            "UPDATE public_post_counters SET posts = counted.posts FROM (
               SELECT user_id % 16 AS shard, count(*) AS posts FROM posts WHERE NOT is_private GROUP BY user_id % 16
             ) AS counted WHERE counted.shard = public_post_counters.shard"
        ),
    ] {
        statement.execute(conn).await?;
    }
    Ok(())
}
