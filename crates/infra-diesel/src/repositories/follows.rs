//! Follows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    follows::{Follow, FollowRepository, Unfollow},
    page::{Page, PageRequest, Position},
    users::{UserId, UserSummary},
};

use super::{Repositories, upper_bound};
use crate::{
    connection::Connection,
    db::Db,
    error::DbError,
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
        user: Option<UserRow>,
    }
}

row! {
    struct UserRow {
        id: i64,
        username: String,
        followed_at: DateTime<Utc>,
    }
}

/// The users on the `$listed` side of follows whose `$given` side is a user, and the counter of those.
macro_rules! list {
    ($given:literal, $listed:literal, $counter:literal) => {
        concat!(
            "SELECT c.",
            $counter,
            " AS total, f.id, f.username, f.created_at AS followed_at
             FROM users u JOIN user_counters c ON c.user_id = u.id
             LEFT JOIN (SELECT ",
            $listed,
            "_id AS id, ",
            $listed,
            "_name AS username, created_at FROM follows
               WHERE ",
            $given,
            "_id = ? AND (created_at, ",
            $listed,
            "_id) < (?, ?)
               ORDER BY created_at DESC, ",
            $listed,
            "_id DESC LIMIT ? OFFSET ?) AS f ON true
             WHERE u.id = ? AND u.is_active AND u.is_verified
             ORDER BY f.created_at DESC, f.id DESC"
        )
    };
}

type ListBinds = (i64, DateTime<Utc>, i64, PageLimit, i64, i64);

statements! {
    Both: FOLLOWERS(i64, DateTime<Utc>, i64, PageLimit, i64, i64) = list!("followee", "follower", "followers");
    Both: FOLLOWING(i64, DateTime<Utc>, i64, PageLimit, i64, i64) = list!("follower", "followee", "following");
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
        let statement = list.with((user.0, bound.at, bound.id, limit, page.row_offset(), user.0));
        let rows = self.db.load_rows::<ListRow>(statement).await?;
        let Some(total) = rows.first().map(|row| row.total) else { return Ok(None) };
        let users: Vec<UserRow> = rows.into_iter().filter_map(|row| row.user).collect();
        let page =
            Page::from_rows(users, total, page.size, |row| Position { at: row.followed_at, id: row.id });
        let summary = |row: UserRow| UserSummary { id: UserId(row.id), username: row.username };
        let items = page.items.into_iter().map(summary).collect();
        Ok(Some(Page { items, total: page.total, next: page.next }))
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
