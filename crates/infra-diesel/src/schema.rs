//! The tables, as both databases have them.

#![allow(clippy::wildcard_imports, reason = "`table!` is used with all SQL types in scope")]

use chrono::{DateTime, Utc};
use diesel::{
    backend::Backend,
    deserialize::{self, FromSql},
    expression::AsExpression,
    pg::{Pg, PgValue},
    query_builder::QueryId,
    serialize::{self, Output, ToSql},
    sql_types::{SqlOrd, SqlType, Timestamptz, TimestamptzSqlite},
    sqlite::Sqlite,
};

/// The SQL type of a point in time: `timestamptz` on PostgreSQL, on SQLite text in UTC that sorts in the order of time
/// (`2026-01-31 12:00:00.5+00:00`).
#[allow(unreachable_pub, reason = "the tables, which Diesel makes public, mention it")]
#[derive(Debug, Clone, Copy, QueryId, SqlType)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185))]
#[diesel(sqlite_type(name = "Text"))]
pub struct UtcTimestamp;

impl SqlOrd for UtcTimestamp {}

/// A point in time as a bind. Columns decode to `DateTime<Utc>` itself, for which Diesel reserves the bind.
#[derive(Debug, Clone, Copy, AsExpression)]
#[diesel(sql_type = UtcTimestamp)]
pub(crate) struct Timestamp(pub(crate) DateTime<Utc>);

impl ToSql<UtcTimestamp, Pg> for Timestamp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Timestamptz, Pg>::to_sql(&self.0, out)
    }
}

impl FromSql<UtcTimestamp, Pg> for DateTime<Utc> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        FromSql::<Timestamptz, Pg>::from_sql(value)
    }
}

impl ToSql<UtcTimestamp, Sqlite> for Timestamp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        ToSql::<TimestamptzSqlite, Sqlite>::to_sql(&self.0, out)
    }
}

impl FromSql<UtcTimestamp, Sqlite> for DateTime<Utc> {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        FromSql::<TimestamptzSqlite, Sqlite>::from_sql(value)
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    users (id) {
        id -> BigInt,
        username -> Text,
        email -> Text,
        password_hash -> Text,
        is_active -> Bool,
        is_verified -> Bool,
        created_at -> UtcTimestamp,
        card_changed_at -> Nullable<UtcTimestamp>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    user_counters (user_id) {
        user_id -> BigInt,
        posts -> BigInt,
        private_posts -> BigInt,
        followers -> BigInt,
        following -> BigInt,
        notifications -> BigInt,
        unread -> BigInt,
        last_notification_at -> UtcTimestamp,
        media_bytes -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    registrations (id) {
        id -> BigInt,
        username -> Text,
        email -> Text,
        password_hash -> Text,
        code_hash -> Nullable<Binary>,
        code_expires_at -> Nullable<UtcTimestamp>,
        tries -> Integer,
        created_at -> UtcTimestamp,
        handle -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    code_attempts (registration_id, client) {
        registration_id -> BigInt,
        client -> Binary,
        tries -> Integer,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    username_holds (username) {
        username -> Text,
        email -> Text,
        expires_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    sessions (id) {
        id -> BigInt,
        user_id -> BigInt,
        refresh_id -> Text,
        previous_refresh -> Nullable<Text>,
        refreshed_at -> UtcTimestamp,
        client -> Nullable<Text>,
        created_at -> UtcTimestamp,
        ends_at -> UtcTimestamp,
        ended_at -> Nullable<UtcTimestamp>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    password_resets (user_id) {
        user_id -> BigInt,
        mail_id -> BigInt,
        token_hash -> Binary,
        expires_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    mail_outbox (id) {
        id -> BigInt,
        intent -> Text,
        registration_id -> Nullable<BigInt>,
        email -> Nullable<Text>,
        attempts -> Integer,
        created_at -> UtcTimestamp,
        next_attempt_at -> Nullable<UtcTimestamp>,
        last_error -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    posts (id) {
        id -> BigInt,
        user_id -> BigInt,
        content -> Nullable<Text>,
        media_key -> Nullable<Text>,
        media_url -> Nullable<Text>,
        is_private -> Bool,
        likes_count -> BigInt,
        comments_count -> BigInt,
        created_at -> UtcTimestamp,
        updated_at -> Nullable<UtcTimestamp>,
        media_bytes -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    media_deletions (media_key) {
        media_key -> Text,
        due_at -> UtcTimestamp,
        owner_id -> Nullable<BigInt>,
        bytes -> Nullable<BigInt>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    likes (post_id, user_id) {
        post_id -> BigInt,
        user_id -> BigInt,
        created_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    comments (id) {
        id -> BigInt,
        post_id -> BigInt,
        user_id -> BigInt,
        content -> Text,
        created_at -> UtcTimestamp,
        updated_at -> Nullable<UtcTimestamp>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    follows (follower_id, followee_id) {
        id -> BigInt,
        follower_id -> BigInt,
        followee_id -> BigInt,
        created_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::UtcTimestamp;

    notifications (id) {
        id -> BigInt,
        recipient_id -> BigInt,
        actor_id -> BigInt,
        kind -> Text,
        post_id -> Nullable<BigInt>,
        comment_id -> Nullable<BigInt>,
        is_read -> Bool,
        created_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    deleted_posts (post_id) {
        post_id -> BigInt,
        author_id -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    feed_buckets (owner_id, bucket) {
        owner_id -> BigInt,
        bucket -> BigInt,
        posts -> Integer,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    feed_total (posts) {
        posts -> BigInt,
    }
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

diesel::define_sql_function! {
    /// Lowers the letters A to Z.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

diesel::define_sql_function! {
    /// Returns the later of two timestamps. SQLite only.
    #[sql_name = "max"]
    fn later_of(a: UtcTimestamp, b: UtcTimestamp) -> UtcTimestamp;
}

diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(user_counters -> users (user_id));
diesel::joinable!(code_attempts -> registrations (registration_id));
diesel::joinable!(likes -> posts (post_id));
diesel::joinable!(comments -> posts (post_id));
diesel::allow_tables_to_appear_in_same_query!(
    users,
    user_counters,
    registrations,
    code_attempts,
    sessions,
    mail_outbox,
    media_deletions,
    password_resets,
    posts,
    likes,
    comments,
    follows,
    notifications,
);
