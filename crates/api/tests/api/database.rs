//! What the tables say, past the server.

use diesel::{Connection as _, RunQueryDsl as _, connection::SimpleConnection as _, sql_types::BigInt};
use test_support::TestDatabase;

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

fn sqlite(path: &str) -> diesel::SqliteConnection {
    let mut conn = diesel::SqliteConnection::establish(path).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 20000").unwrap();
    conn
}

async fn postgres(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Runs statements.
pub(crate) async fn execute(db: &TestDatabase, sql: &str) {
    if let Some(path) = db.url().strip_prefix("sqlite://") {
        sqlite(path).batch_execute(sql).unwrap();
    } else {
        postgres(db.url()).await.batch_execute(sql).await.unwrap();
    }
}

/// The number that a query of one value finds.
pub(crate) async fn number(db: &TestDatabase, query: &str) -> i64 {
    if let Some(path) = db.url().strip_prefix("sqlite://") {
        let query = format!("SELECT ({query}) AS number");
        return diesel::sql_query(query).get_result::<Number>(&mut sqlite(path)).unwrap().number;
    }
    let query = format!("SELECT CAST(({query}) AS bigint)");
    postgres(db.url()).await.query_one(&query, &[]).await.unwrap().get(0)
}

/// Queries that find nothing while every counter says how many rows there are, and every deed has been told once.
const DISAGREEMENTS: [(&str, &str); 6] = [
    (
        "likes and comments of posts",
        "SELECT count(*) FROM posts p
         WHERE likes_count <> (SELECT count(*) FROM likes l WHERE l.post_id = p.id)
            OR comments_count <> (SELECT count(*) FROM comments c WHERE c.post_id = p.id)",
    ),
    (
        "what users have",
        "SELECT count(*) FROM user_counters u
         WHERE posts <> (SELECT count(*) FROM posts p WHERE p.user_id = u.user_id)
            OR private_posts <> (SELECT count(*) FROM posts p WHERE p.user_id = u.user_id AND p.is_private)
            OR followers <> (SELECT count(*) FROM follows f WHERE f.followee_id = u.user_id)
            OR following <> (SELECT count(*) FROM follows f WHERE f.follower_id = u.user_id)
            OR notifications <> (SELECT count(*) FROM notifications n WHERE n.recipient_id = u.user_id)
            OR unread <> (SELECT count(*) FROM notifications n WHERE n.recipient_id = u.user_id AND NOT is_read)",
    ),
    (
        "public posts",
        "SELECT abs((SELECT sum(posts) FROM public_post_counters) - (SELECT count(*) FROM posts WHERE NOT is_private))",
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

/// Whether counters and rows agree, of a network in which nobody has deleted a notification.
pub(crate) async fn agrees(db: &TestDatabase) {
    for (what, query) in DISAGREEMENTS {
        assert_eq!(number(db, query).await, 0, "{what}");
    }
}
