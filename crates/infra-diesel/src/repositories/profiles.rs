//! Profiles of users.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _, Queryable};
use domain::{
    Result,
    users::{Email, Profile, UserId, UserSummary},
};

use crate::{
    db::Repositories,
    schema::{user_counters, users},
    sql::{row::row, statement::statements},
};

#[derive(Queryable)]
struct ProfileRow {
    username: String,
    email: String,
    created_at: DateTime<Utc>,
    posts: i64,
    followers: i64,
    following: i64,
}

row! {
    struct NeighborRow {
        is_follower: bool,
        user_id: i64,
    }
}

statements! {
    // The newest followers and followed users in one round trip.
    Both: PROFILE_NEIGHBORS(i64, i64) =
        "SELECT n.is_follower, n.user_id FROM (
           SELECT * FROM (SELECT true AS is_follower, follower_id AS user_id, id
             FROM follows WHERE followee_id = ? ORDER BY id DESC LIMIT 100) AS followers
           UNION ALL
           SELECT * FROM (SELECT false AS is_follower, followee_id AS user_id, id
             FROM follows WHERE follower_id = ? ORDER BY id DESC LIMIT 100) AS following
         ) AS n ORDER BY n.id DESC";
}

impl Repositories {
    /// Returns the profile of a user; `None` if there is no such user.
    pub(crate) async fn profile(&self, user: UserId) -> Result<Option<Profile>> {
        let query = users::table.inner_join(user_counters::table).filter(users::id.eq(user.0)).select((
            users::username,
            users::email,
            users::created_at,
            user_counters::posts,
            user_counters::followers,
            user_counters::following,
        ));
        let Some(row) = self.db.first::<ProfileRow, _>(query).await? else { return Ok(None) };
        let neighbors = self.db.load_rows::<NeighborRow>(PROFILE_NEIGHBORS.with((user.0, user.0))).await?;
        let (followers, following): (Vec<_>, Vec<_>) = neighbors.into_iter().partition(|row| row.is_follower);
        let summary = |row: NeighborRow, username| UserSummary { id: UserId(row.user_id), username };
        let followers = self.with_usernames(followers, |row| row.user_id, summary).await?;
        let following = self.with_usernames(following, |row| row.user_id, summary).await?;
        Ok(Some(Profile {
            id: user,
            username: row.username,
            email: Email::from_stored(row.email),
            posts_count: row.posts,
            followers_count: row.followers,
            following_count: row.following,
            followers,
            following,
            created_at: row.created_at,
        }))
    }
}
