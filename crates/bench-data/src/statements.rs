//! The statements that make the network. Both databases understand all but a few words of them.
//!
//! The numbers that look random are arithmetic on the row's number, so that a seed makes the same network everywhere.
//! Popularity is skewed, as in life: the k-th post or user of the list is drawn about 1/√k as often as the first.

use crate::Seed;

/// 2025-01-01, in seconds since 1970. Posts take 10,000,000 seconds from here, activity the same time again.
const FIRST_POST: i64 = 1_735_689_600;
const FIRST_ACTIVITY: i64 = FIRST_POST + 10_000_000;

/// Returns two queries for the statements that drop the indexes, and create them again: all but those of constraints.
pub(crate) fn indexes(is_postgres: bool) -> (&'static str, &'static str) {
    if is_postgres {
        (
            "SELECT format('DROP INDEX %I', indexname) AS value FROM pg_indexes
             WHERE schemaname = current_schema() AND tablename IN ('posts', 'comments', 'likes', 'follows', 'notifications')
               AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname)
             UNION ALL SELECT 'ALTER TABLE notifications DROP CONSTRAINT notifications_pkey'
             UNION ALL SELECT 'ALTER TABLE comments DROP CONSTRAINT comments_pkey'",
            "SELECT indexdef AS value FROM pg_indexes
             WHERE schemaname = current_schema() AND tablename IN ('posts', 'comments', 'likes', 'follows', 'notifications')
               AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname)
             UNION ALL SELECT 'ALTER TABLE notifications ADD PRIMARY KEY (recipient_id, id)'
             UNION ALL SELECT 'ALTER TABLE comments ADD PRIMARY KEY (post_id, id)'",
        )
    } else {
        (
            "SELECT 'DROP INDEX ' || name AS value FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
               AND tbl_name IN ('posts', 'comments', 'likes', 'follows', 'notifications')",
            "SELECT sql AS value FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
               AND tbl_name IN ('posts', 'comments', 'likes', 'follows', 'notifications')",
        )
    }
}

/// Returns a string literal.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The rows `drawn`: numbers `i` from 1 to `rows`, each with `a` and `b`, which look random, from 0 to 2³¹ - 2. A product
/// of a number and its own upper bits has no simple relation to the row's number any more, and stays below 2⁴⁸.
fn drawn(rows: i64, salts: (i64, i64)) -> String {
    let (salt_a, salt_b) = salts;
    format!(
        "WITH RECURSIVE numbers (i) AS (
           SELECT CAST(1 AS bigint) UNION ALL SELECT i + 1 FROM numbers WHERE i < {rows}
         ), salted AS (
           SELECT i, (i * 1103515245 + {salt_a}) % 2147483647 AS a, (i * 1664525069 + {salt_b}) % 2147483647 AS b
           FROM numbers
         ), drawn AS (
           SELECT i, (a * (a / 32768 + 1)) % 2147483647 AS a, (b * (b / 32768 + 1)) % 2147483647 AS b FROM salted
         )"
    )
}

/// One of `count`, each as likely.
fn uniform(count: i64, drawn: &str) -> String {
    format!("1 + {count} * {drawn} / 2147483648")
}

/// One of `count`, the first ones more likely.
fn popular(count: i64, drawn: &str) -> String {
    format!("1 + {count} * ({drawn} * {drawn} / 2147483648) / 2147483648")
}

pub(crate) struct Statements<'a> {
    pub(crate) seed: &'a Seed,
    pub(crate) is_postgres: bool,
}

impl Statements<'_> {
    /// Converts seconds since 1970.
    fn timestamp(&self, seconds: &str) -> String {
        if self.is_postgres {
            format!("to_timestamp({seconds})")
        } else {
            format!("strftime('%Y-%m-%d %H:%M:%S+00:00', {seconds}, 'unixepoch')")
        }
    }

    /// Spreads the rows evenly over 10,000,000 seconds.
    fn spread(&self, first: i64, rows: i64) -> String {
        self.timestamp(&format!("{first} + i * 10000000 / {rows}"))
    }

    fn salts(&self, table: i64) -> (i64, i64) {
        let salt = |number: i64| (i64::from(self.seed.seed) * 7_919 + number * 104_729) % 2_147_483_647;
        (salt(2 * table - 1), salt(2 * table))
    }

    pub(crate) fn users(&self) -> String {
        format!(
            "{} INSERT INTO users (id, username, email, password_hash, created_at)
             SELECT i, 'user' || i, 'user' || i || '@example.com', {}, {} FROM drawn",
            drawn(self.seed.users, (0, 0)),
            quote(&self.seed.password.0),
            self.timestamp(&format!("{FIRST_POST} + i * 0")),
        )
    }

    /// Everything that users do, what follows from it, and the counters.
    pub(crate) fn activity(&self) -> Vec<String> {
        let Seed { posts, likes, comments, follows, .. } = *self.seed;
        let mut all = Vec::new();
        if posts > 0 {
            all.push(self.posts());
            all.extend((likes > 0).then(|| self.likes()));
            all.extend((comments > 0).then(|| self.comments()));
        }
        all.extend((follows > 0).then(|| self.follows()));
        all.push(NOTIFICATIONS.to_owned());
        all.push(COUNT_ON_POSTS.to_owned());
        all.push(self.count_of_users());
        // Triggers do not run for rows that are inserted without checks.
        all.extend(self.is_postgres.then(|| "DELETE FROM feed_changes".to_owned()));
        all.extend(COUNT_FEED.map(str::to_owned));
        all
    }

    fn posts(&self) -> String {
        let Seed { users, posts, .. } = *self.seed;
        let author = uniform(users, "a");
        format!(
            "{} INSERT INTO posts (id, user_id, content, is_private, created_at)
             SELECT i, {author}, 'Post ' || i || ': ' || substr('{TEXT}', 1,
               CAST(20 + b % 280 AS integer)), i % 20 = 0, {} FROM drawn",
            drawn(posts, self.salts(1)),
            self.spread(FIRST_POST, posts),
        )
    }

    /// A user, and the post that the user likes or comments on: for a private one the public one before it.
    fn user_and_post(&self) -> String {
        let Seed { users, posts, .. } = *self.seed;
        format!(
            "(SELECT i, user_id, drawn_id - CASE WHEN drawn_id % 20 = 0 THEN 1 ELSE 0 END AS post_id FROM
               (SELECT i, {} AS user_id, {} AS drawn_id FROM drawn) AS pairs) AS d",
            uniform(users, "b"),
            popular(posts, "a"),
        )
    }

    fn likes(&self) -> String {
        let likes = self.seed.likes;
        format!(
            "{} INSERT INTO likes (post_id, user_id, created_at)
             SELECT post_id, user_id, {} FROM {} WHERE true ON CONFLICT DO NOTHING",
            drawn(likes, self.salts(2)),
            self.spread(FIRST_ACTIVITY, likes),
            self.user_and_post(),
        )
    }

    fn comments(&self) -> String {
        let comments = self.seed.comments;
        format!(
            "{} INSERT INTO comments (id, post_id, user_id, content, created_at)
             SELECT i, post_id, user_id,
               'Comment ' || i || ', of about the length that comments have', {} FROM {}",
            drawn(comments, self.salts(3)),
            self.spread(FIRST_ACTIVITY, comments),
            self.user_and_post(),
        )
    }

    fn follows(&self) -> String {
        let Seed { users, follows, .. } = *self.seed;
        format!(
            "{} INSERT INTO follows (follower_id, followee_id, created_at)
             SELECT follower_id, followee_id, {}
             FROM (SELECT i, {} AS follower_id, {} AS followee_id FROM drawn) AS d
             WHERE follower_id <> followee_id ON CONFLICT DO NOTHING",
            drawn(follows, self.salts(4)),
            self.spread(FIRST_ACTIVITY, follows),
            uniform(users, "b"),
            popular(users, "a"),
        )
    }

    fn count_of_users(&self) -> String {
        let never = if self.is_postgres { "'-infinity'" } else { "''" };
        format!(
            "INSERT INTO user_counters
               (user_id, posts, private_posts, followers, following, notifications, unread, last_notification_at)
             SELECT u.id, coalesce(p.posts, 0), coalesce(p.private, 0), coalesce(f.followers, 0),
               coalesce(g.following, 0), coalesce(n.notifications, 0), coalesce(n.unread, 0), coalesce(n.last, {never})
             FROM users u
             LEFT JOIN (SELECT user_id, count(*) AS posts, sum(CASE WHEN is_private THEN 1 ELSE 0 END) AS private
               FROM posts GROUP BY user_id) AS p ON p.user_id = u.id
             LEFT JOIN (SELECT followee_id, count(*) AS followers FROM follows GROUP BY followee_id) AS f
               ON f.followee_id = u.id
             LEFT JOIN (SELECT follower_id, count(*) AS following FROM follows GROUP BY follower_id) AS g
               ON g.follower_id = u.id
             LEFT JOIN (SELECT recipient_id, count(*) AS notifications, max(created_at) AS last,
               sum(CASE WHEN is_read THEN 0 ELSE 1 END) AS unread FROM notifications GROUP BY recipient_id) AS n
               ON n.recipient_id = u.id"
        )
    }
}

/// The text of a post. Its length decides what a page costs to read, encode and send, so it varies, and it should not
/// compress to nothing.
const TEXT: &str = "Some text, as long as people write it: now a few words, now a line or
two, seldom more. What it says does not matter; how long it is decides what a page of it costs to read, to turn into
JSON and to send, and so it should be neither always the same nor anything that would compress to nothing.";

/// Notifications of all activity, in its order; about half are read.
const NOTIFICATIONS: &str =
    "INSERT INTO notifications (recipient_id, actor_id, kind, post_id, comment_id, is_read, created_at)
     SELECT recipient_id, actor_id, kind, post_id, comment_id,
       (recipient_id + actor_id) % 2 = 0, created_at FROM (
       SELECT p.user_id AS recipient_id, l.user_id AS actor_id, 'like' AS kind, l.post_id,
         CAST(NULL AS bigint) AS comment_id, l.created_at
       FROM likes l JOIN posts p ON p.id = l.post_id WHERE p.user_id <> l.user_id
       UNION ALL
       SELECT p.user_id, c.user_id, 'comment', c.post_id, c.id, c.created_at
       FROM comments c JOIN posts p ON p.id = c.post_id WHERE p.user_id <> c.user_id
       UNION ALL
       SELECT followee_id, follower_id, 'follow', NULL, NULL, created_at FROM follows
     ) AS activity
     ORDER BY created_at, kind, actor_id, recipient_id, post_id";

const COUNT_ON_POSTS: &str =
    "UPDATE posts SET likes_count = counted.likes, comments_count = counted.comments FROM (
       SELECT post_id, sum(likes) AS likes, sum(comments) AS comments FROM (
         SELECT post_id, 1 AS likes, 0 AS comments FROM likes
         UNION ALL SELECT post_id, 0, 1 FROM comments) AS activity
       GROUP BY post_id) AS counted
     WHERE counted.post_id = posts.id";

/// The feed index.
const COUNT_FEED: [&str; 4] = [
    "DELETE FROM feed_buckets",
    "DELETE FROM feed_total",
    "INSERT INTO feed_buckets
     SELECT CASE WHEN is_private THEN user_id ELSE 0 END, id >> 11, count(*) FROM posts GROUP BY 1, 2 ORDER BY 1, 2",
    "INSERT INTO feed_total (posts) SELECT coalesce(sum(posts), 0) FROM feed_buckets WHERE owner_id = 0",
];
