//! Keeps statements prepared.

use diesel::{
    QueryResult,
    backend::Backend,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
};

/// A query that Diesel keeps prepared. Without it, Diesel prepares each `UPDATE` anew, since the columns that it sets may
/// vary; ours have few variants.
#[derive(QueryId)]
pub(crate) struct Prepared<Q>(pub(crate) Q);

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}

impl<Q: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use diesel::{ExpressionMethods as _, QueryDsl as _, dsl, sql_types::BigInt};
    use test_support::TestDatabase;

    use crate::{
        admin::migrate, config::DatabaseUrl, connection::Connection, postgres::connect::establish,
        schema::user_counters,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn updates_stay_prepared() {
        let db = TestDatabase::postgres().await;
        migrate(&DatabaseUrl::parse(db.url()).unwrap(), false).await.unwrap();
        let conn = establish(db.url(), None).await.unwrap();
        let mut conn = Connection::Postgres(&conn);
        for user in 0..3 {
            let update = diesel::update(user_counters::table.find(user)).set(user_counters::unread.eq(7));
            conn.execute(update).await.unwrap();
        }
        let prepared = "(SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'UPDATE%')";
        let count: Option<i64> = conn.first(diesel::select(dsl::sql::<BigInt>(prepared))).await.unwrap();
        assert_eq!(count, Some(1));
    }
}
