//! Follows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    follows::{Follow, FollowRepository, Unfollow},
    page::{Page, PageRequest},
    users::{UserId, UserSummary},
};

use super::Repositories;
use crate::{
    connection::Connection,
    db::Db,
    error::DbError,
    paging::upper_bound,
    postgres::writes::follows as postgres_writes,
    sql::{
        bind::PageLimit,
        row::row,
        statement::{Sql, statements},
    },
    sqlite::writes::follows as sqlite_writes,
};

row! {
    struct ListRow {
        total: i64,
        follow: Option<FollowRow>,
    }
}

row! {
    struct FollowRow {
        id: i64,
        user_id: i64,
    }
}

/// The users on the `$listed` side of follows whose `$given` side is a user, and the counter of those.
macro_rules! list {
    ($given:literal, $listed:literal, $counter:literal) => {
        concat!(
            "SELECT c.",
            $counter,
            " AS total, f.id, f.user_id FROM users u JOIN user_counters c ON c.user_id = u.id
             LEFT JOIN (SELECT id, ",
            $listed,
            " AS user_id FROM follows WHERE ",
            $given,
            " = ? AND id < ?
               ORDER BY id DESC LIMIT ? OFFSET ?) AS f ON true
             WHERE u.id = ? AND u.is_active AND u.is_verified
             ORDER BY f.id DESC"
        )
    };
}

type ListBinds = (i64, i64, PageLimit, i64, i64);

statements! {
    Both: FOLLOWERS(i64, i64, PageLimit, i64, i64) = list!("followee_id", "follower_id", "followers");
    Both: FOLLOWING(i64, i64, PageLimit, i64, i64) = list!("follower_id", "followee_id", "following");
}

impl Repositories {
    /// Returns a page of a list of a user; `None` if the user does not exist.
    async fn list_follows(
        &self,
        list: &'static Sql<ListBinds>,
        user: UserId,
        page: PageRequest,
    ) -> Result<Option<Page<UserSummary>>> {
        let (bound, limit) = (upper_bound(page), PageLimit(page.row_limit()));
        let statement = list.with((user.0, bound, limit, page.row_offset(), user.0));
        let rows = self.db.load_rows::<ListRow>(statement).await?;
        let Some(total) = rows.first().map(|row| row.total) else { return Ok(None) };
        let rows = rows.into_iter().filter_map(|row| row.follow).collect();
        let Page { items, total, next } = Page::from_rows(rows, total, page.size, |row| row.id);
        let summary = |row: FollowRow, username| UserSummary { id: UserId(row.user_id), username };
        let items = self.with_usernames(items, |row| row.user_id, summary).await?;
        Ok(Some(Page { items, total, next }))
    }
}

#[async_trait]
impl FollowRepository for Repositories {
    async fn follow(&self, follower: UserId, followee: UserId, at: DateTime<Utc>) -> Result<Option<Follow>> {
        let follow: Result<_, DbError> = match &self.db {
            Db::Postgres(db) => {
                db.write(async move |conn: &mut Connection<'_>| {
                    postgres_writes::follow(conn, follower, followee, at).await
                })
                .await
            }
            Db::Sqlite(db) => {
                db.writer
                    .run(async move |tx: &mut Connection<'_>| {
                        sqlite_writes::follow(tx, follower, followee, at).await
                    })
                    .await
            }
        };
        Ok(follow?)
    }

    async fn unfollow(&self, follower: UserId, followee: UserId) -> Result<Option<Unfollow>> {
        let unfollow: Result<_, DbError> = match &self.db {
            Db::Postgres(db) => {
                db.write(async move |conn: &mut Connection<'_>| {
                    postgres_writes::unfollow(conn, follower, followee).await
                })
                .await
            }
            Db::Sqlite(db) => {
                db.writer
                    .run(async move |tx: &mut Connection<'_>| {
                        sqlite_writes::unfollow(tx, follower, followee).await
                    })
                    .await
            }
        };
        Ok(unfollow?)
    }

    async fn list_followers(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>> {
        self.list_follows(&FOLLOWERS, user, page).await
    }

    async fn list_following(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>> {
        self.list_follows(&FOLLOWING, user, page).await
    }
}
