//! Prepares every raw statement, so that a wrong column, type or number of values fails here and not at first use; and
//! checks that statements stay prepared.

use diesel::{ExpressionMethods as _, QueryDsl as _, dsl, sql_types::BigInt};
use test_support::TestDatabase;

use crate::{
    admin::migrate,
    config::DatabaseUrl,
    connection::Connection,
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
