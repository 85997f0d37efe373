//! Prepares every raw statement, so that a wrong column, type or number of values fails here and not at first use; and
//! checks that statements stay prepared.

use std::time::Duration;

use diesel::{ExpressionMethods as _, QueryDsl as _, dsl, sql_types::BigInt};
use domain::{
    page::{PageNumber, PageRequest, PageSize, PageStart},
    posts::PostId,
    users::UserId,
};
use test_support::TestDatabase;

use crate::{
    admin::migrate,
    config::{DatabaseConfig, DatabaseUrl},
    connection::Connection,
    database::{Database, connect},
    feed_index,
    postgres::{self, server::PgServer},
    repositories,
    schema::user_counters,
    sql::statement::{Databases, Registered},
    tool::ToolConnection,
};

fn all() -> impl Iterator<Item = &'static dyn Registered> {
    [
        feed_index::STATEMENTS,
        postgres::replica::STATEMENTS,
        postgres::writes::comments::STATEMENTS,
        postgres::writes::follows::STATEMENTS,
        postgres::writes::likes::STATEMENTS,
        postgres::writes::posts::STATEMENTS,
        repositories::profiles::STATEMENTS,
        repositories::comments::STATEMENTS,
        repositories::follows::STATEMENTS,
        repositories::notifications::STATEMENTS,
        repositories::posts::STATEMENTS,
        repositories::username_holds::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

async fn open(db: &TestDatabase) -> ToolConnection {
    let url = DatabaseUrl::parse(db.url()).unwrap();
    migrate(&url, false).await.unwrap();
    ToolConnection::open(&url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_prepares_every_raw_statement() {
    let db = TestDatabase::postgres().await;
    let mut conn = open(&db).await;
    for statement in all() {
        let (text, types) = statement.prepared(|number| format!("${number}"));
        let types = if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
        let prepared = conn.execute(&format!("PREPARE checked {types} AS {text}; DEALLOCATE checked")).await;
        assert!(prepared.is_ok(), "{prepared:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_prepares_every_raw_statement() {
    let db = TestDatabase::sqlite().await;
    let mut conn = open(&db).await;
    for statement in all().filter(|statement| statement.databases() == Databases::Both) {
        let (text, _) = statement.prepared(|_| "?".to_owned());
        let prepared = conn.execute(&format!("EXPLAIN {text}")).await;
        assert!(prepared.is_ok(), "{prepared:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_stay_prepared() {
    let db = TestDatabase::postgres().await;
    migrate(&DatabaseUrl::parse(db.url()).unwrap(), false).await.unwrap();
    let conn = PgServer::parse(db.url()).unwrap().connect().await.unwrap();
    let mut conn = Connection::Postgres(&conn);
    for user in 0..3 {
        let update = diesel::update(user_counters::table.find(user)).set(user_counters::unread.eq(7));
        conn.execute(update).await.unwrap();
    }
    let prepared = "(SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'UPDATE%')";
    let count: Option<i64> = conn.first(diesel::select(dsl::sql::<BigInt>(prepared))).await.unwrap();
    assert_eq!(count, Some(1));
}

/// Reads every list from these starts.
async fn read_lists(database: &Database, start: PageStart, size: i64) {
    let page = PageRequest { start, size: PageSize::parse(size).unwrap() };
    let (ann, post) = (UserId(1), PostId(1));
    database.posts.list(ann, None, page).await.unwrap();
    database.posts.list(ann, Some(ann), page).await.unwrap();
    database.posts.list(ann, Some(UserId(2)), page).await.unwrap();
    database.comments.list(post, Some(ann), page).await.unwrap();
    database.follows.list_followers(ann, page).await.unwrap();
    database.follows.list_following(ann, page).await.unwrap();
    database.notifications.list(ann, false, page).await.unwrap();
    database.notifications.list(ann, true, page).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_sizes_share_a_few_prepared_statements() {
    let db = TestDatabase::postgres().await;
    let url = DatabaseUrl::parse(db.url()).unwrap();
    migrate(&url, false).await.unwrap();
    db.execute(
        "INSERT INTO users (id, username, email, password_hash, created_at) VALUES (1, 'ann', 'a', '', now());
         INSERT INTO user_counters (user_id) VALUES (1);
         INSERT INTO posts (id, user_id, is_private, created_at) VALUES (1, 1, false, now())",
    )
    .await;
    // A single connection.
    let timeout = Duration::from_secs(20);
    let config = DatabaseConfig { url, replica: None, connections: 1, workers: 0, timeout };
    let database = connect(&config).await.unwrap();
    let prepared = async || {
        let count = "(SELECT count(*) FROM pg_prepared_statements)";
        database.db.first::<i64, _>(diesel::select(dsl::sql::<BigInt>(count))).await.unwrap().unwrap()
    };
    let read = async |sizes: &[i64]| {
        for size in sizes {
            for page in [1, 2, 20] {
                read_lists(&database, PageStart::Page(PageNumber::parse(page).unwrap()), *size).await;
            }
            read_lists(&database, PageStart::After(1_000_000), *size).await;
        }
    };
    read(&[10, 20, 50, 100]).await;
    let few = prepared().await;
    read(&(1..=100).collect::<Vec<_>>()).await;
    assert_eq!(prepared().await, few, "other sizes need no other statements");
    assert!(few <= 80, "{few}");
}
