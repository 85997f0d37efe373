//! Direct access to the tables of a test database.

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _,
    sql_types::Text,
};
use tokio_postgres::Client;

use crate::{database::TestDatabase, postgres::connect};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    value: String,
}

fn open(path: &str) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(path).expect("the file can be opened");
    conn.batch_execute("PRAGMA busy_timeout = 20000; PRAGMA foreign_keys = ON").expect("it can be set up");
    conn
}

impl TestDatabase {
    /// Returns the path of the file if the database is SQLite.
    pub fn sqlite_path(&self) -> Option<&str> {
        self.url().strip_prefix("sqlite://")
    }

    /// Connects to the database, which must be PostgreSQL.
    ///
    /// # Panics
    /// If it does not let us in.
    pub async fn client(&self) -> Client {
        connect(self.url()).await.expect("the database lets us in")
    }

    /// Runs statements.
    ///
    /// # Panics
    /// If one of them fails.
    pub async fn execute(&self, sql: &str) {
        match self.sqlite_path() {
            Some(path) => open(path).batch_execute(sql).expect(sql),
            None => self.client().await.batch_execute(sql).await.expect(sql),
        }
    }

    /// Returns the rows of a query with one column, as text.
    ///
    /// # Panics
    /// If it fails or finds nulls.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let query = format!("WITH found (value) AS ({query}) SELECT CAST(value AS text) AS value FROM found");
        if let Some(path) = self.sqlite_path() {
            let rows: Vec<Row> = diesel::sql_query(&query).load(&mut open(path)).expect(&query);
            return rows.into_iter().map(|row| row.value).collect();
        }
        let rows = self.client().await.query(&query, &[]).await.expect(&query);
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Returns the rows of a query with one column of numbers.
    ///
    /// # Panics
    /// If it fails or finds anything else.
    pub async fn numbers(&self, query: &str) -> Vec<i64> {
        let texts = self.texts(query).await;
        texts.iter().map(|text| text.parse().expect("it finds numbers")).collect()
    }

    /// Returns the result of a query with one number.
    ///
    /// # Panics
    /// If it fails or finds none.
    pub async fn number(&self, query: &str) -> i64 {
        self.numbers(query).await[0]
    }

    /// Checks that every counter equals its rows. No test that calls it may delete notifications.
    ///
    /// # Panics
    /// If a counter differs.
    pub async fn agrees(&self) {
        for (subject, query) in COUNTER_ERRORS {
            assert_eq!(self.number(query).await, 0, "{subject}");
        }
    }
}

/// Queries that return 0 if every counter equals its rows and every action has one notification.
const COUNTER_ERRORS: [(&str, &str); 7] = [
    (
        "likes and comments of posts",
        "SELECT count(*) FROM posts p
         WHERE likes_count <> (SELECT count(*) FROM likes l WHERE l.post_id = p.id)
            OR comments_count <> (SELECT count(*) FROM comments c WHERE c.post_id = p.id)",
    ),
    (
        "counters of users",
        "SELECT count(*) FROM user_counters u
         WHERE posts <> (SELECT count(*) FROM posts p WHERE p.user_id = u.user_id)
            OR private_posts <> (SELECT count(*) FROM posts p WHERE p.user_id = u.user_id AND p.is_private)
            OR followers <> (SELECT count(*) FROM follows f WHERE f.followee_id = u.user_id)
            OR following <> (SELECT count(*) FROM follows f WHERE f.follower_id = u.user_id)
            OR notifications <> (SELECT count(*) FROM notifications n WHERE n.recipient_id = u.user_id)
            OR unread <> (SELECT count(*) FROM notifications n WHERE n.recipient_id = u.user_id AND NOT is_read)",
    ),
    (
        "bytes of files",
        "SELECT count(*) FROM user_counters u
         WHERE media_bytes <> coalesce((SELECT sum(media_bytes) FROM posts p WHERE p.user_id = u.user_id), 0)
           + coalesce((SELECT sum(bytes) FROM media_deletions d WHERE d.owner_id = u.user_id), 0)",
    ),
    (
        "public posts",
        "SELECT abs((SELECT posts FROM feed_total) + (SELECT coalesce(sum(change), 0) FROM feed_changes WHERE owner_id = 0)
           - (SELECT count(*) FROM posts WHERE NOT is_private))",
    ),
    (
        "notifications of likes",
        "SELECT abs((SELECT count(*) FROM notifications WHERE kind = 'like')
            - (SELECT count(*) FROM likes l JOIN posts p ON p.id = l.post_id WHERE p.user_id <> l.user_id))",
    ),
    (
        "notifications of comments",
        "SELECT abs((SELECT count(*) FROM notifications WHERE kind = 'comment')
            - (SELECT count(*) FROM comments c JOIN posts p ON p.id = c.post_id WHERE p.user_id <> c.user_id))",
    ),
    (
        "notifications of follows",
        "SELECT abs((SELECT count(*) FROM notifications WHERE kind = 'follow') - (SELECT count(*) FROM follows))",
    ),
];
