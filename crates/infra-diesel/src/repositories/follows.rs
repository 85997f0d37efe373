//! Who follows whom.

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
    postgres::writes::follows as on_postgres,
    sql::{
        row::row,
        statement::{Literal, Statement, sql},
    },
    sqlite::writes::follows as on_sqlite,
};

row! {
    struct ListRow {
        total: i64,
        neighbour: Option<NeighbourRow>,
    }
}

row! {
    struct NeighbourRow {
        neighbour_id: i64,
        username: String,
        followed_at: DateTime<Utc>,
    }
}

/// The statement of either list: which side is given, which is shown, and what counts those.
macro_rules! neighbours {
    ($given:literal, $shown:literal, $count:literal, $user:expr, $page:expr) => {{
        let (user, page, bound) = ($user, $page, upper_bound($page));
        sql!(
            concat!(
                "SELECT c.",
                $count,
                " AS total, f.id AS neighbour_id, f.username, f.created_at AS followed_at
                 FROM users u JOIN user_counters c ON c.user_id = u.id
                 LEFT JOIN (SELECT ",
                $shown,
                "_id AS id, ",
                $shown,
                "_name AS username, created_at FROM follows
                   WHERE ",
                $given,
                "_id = ? AND (created_at, ",
                $shown,
                "_id) < (?, ?)
                   ORDER BY created_at DESC, ",
                $shown,
                "_id DESC LIMIT ? OFFSET ?) AS f ON true
                 WHERE u.id = ? AND u.is_active AND u.is_verified
                 ORDER BY f.created_at DESC, f.id DESC"
            ),
            user.0,
            bound.at,
            bound.id,
            Literal(page.row_limit()),
            page.row_offset(),
            user.0
        )
    }};
}

impl Repositories {
    async fn neighbours(
        &self,
        statement: Statement,
        page: PageRequest,
    ) -> Result<Option<Page<UserSummary>>, DbError> {
        let rows = self.db.load_rows::<ListRow>(statement).await?;
        let Some(total) = rows.first().map(|row| row.total) else { return Ok(None) };
        let items: Vec<NeighbourRow> = rows.into_iter().filter_map(|row| row.neighbour).collect();
        let page = Page::from_rows(items, total, page.size, |row| Position {
            at: row.followed_at,
            id: row.neighbour_id,
        });
        let summary =
            |row: NeighbourRow| UserSummary { id: UserId(row.neighbour_id), username: row.username };
        Ok(Some(Page {
            items: page.items.into_iter().map(summary).collect(),
            total: page.total,
            next: page.next,
        }))
    }
}

#[async_trait]
impl FollowRepository for Repositories {
    async fn follow(&self, follower: UserId, followee: UserId, at: DateTime<Utc>) -> Result<Option<Follow>> {
        let done: Result<_, DbError> = match &self.db {
            Db::Postgres(db) => {
                db.write(async move |tx: &mut Connection<'_>| {
                    on_postgres::follow(tx, follower, followee, at).await
                })
                .await
            }
            Db::Sqlite(db) => {
                db.writer
                    .run(async move |tx: &mut Connection<'_>| {
                        on_sqlite::follow(tx, follower, followee, at).await
                    })
                    .await
            }
        };
        Ok(done?)
    }

    async fn unfollow(&self, follower: UserId, followee: UserId) -> Result<Option<Unfollow>> {
        let done: Result<_, DbError> = match &self.db {
            Db::Postgres(db) => {
                db.write(async move |tx: &mut Connection<'_>| {
                    on_postgres::unfollow(tx, follower, followee).await
                })
                .await
            }
            Db::Sqlite(db) => {
                db.writer
                    .run(async move |tx: &mut Connection<'_>| {
                        on_sqlite::unfollow(tx, follower, followee).await
                    })
                    .await
            }
        };
        Ok(done?)
    }

    async fn list_followers(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>> {
        Ok(self.neighbours(neighbours!("followee", "follower", "followers", user, page), page).await?)
    }

    async fn list_following(&self, user: UserId, page: PageRequest) -> Result<Option<Page<UserSummary>>> {
        Ok(self.neighbours(neighbours!("follower", "followee", "following", user, page), page).await?)
    }
}
