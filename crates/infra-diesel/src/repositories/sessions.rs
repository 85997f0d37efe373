//! Sessions and the rotation of their refresh tokens.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, NullableExpressionMethods as _, QueryDsl as _,
    Queryable, Selectable,
    dsl::{exists, not},
    pg::Pg,
    sqlite::Sqlite,
};
use domain::{
    Result,
    passwords::PasswordHash,
    sessions::{
        ActiveSession, NewSession, RefreshId, RefreshUse, Rotation, SessionId, SessionRepository, SessionView,
    },
    users::UserId,
};

use super::Repositories;
use crate::{
    connection::{Connection, columns},
    error::DbError,
    schema::{Timestamp, sessions, users},
    sql::{bind::padded, row_lock::Locked},
    sqlite::writer::Importance,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg, Sqlite))]
struct RotationRow {
    refresh_id: String,
    refreshed_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

impl From<RotationRow> for Rotation {
    fn from(row: RotationRow) -> Self {
        Self::Issued { refresh: RefreshId(row.refresh_id), issued_at: row.refreshed_at, ends_at: row.ends_at }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg, Sqlite))]
struct SessionRow {
    id: i64,
    client: Option<String>,
    created_at: DateTime<Utc>,
    refreshed_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

impl From<SessionRow> for SessionView {
    fn from(row: SessionRow) -> Self {
        Self {
            id: SessionId(row.id),
            client: row.client,
            created_at: row.created_at,
            last_used_at: row.refreshed_at,
            ends_at: row.ends_at,
        }
    }
}

pub(crate) async fn insert_session(
    tx: &mut Connection<'_>,
    user: UserId,
    session: &NewSession,
) -> Result<(), DbError> {
    let insert = diesel::insert_into(sessions::table).values((
        sessions::id.eq(session.id.0),
        sessions::user_id.eq(user.0),
        sessions::refresh_id.eq(&session.refresh.0),
        sessions::refreshed_at.eq(Timestamp(session.at)),
        sessions::client.eq(&session.client),
        sessions::created_at.eq(Timestamp(session.at)),
        sessions::ends_at.eq(Timestamp(session.ends_at)),
    ));
    tx.execute(insert).await?;
    Ok(())
}

/// Ends all sessions of a user, except `keep`.
pub(crate) async fn end_sessions(
    tx: &mut Connection<'_>,
    user: UserId,
    keep: Option<SessionId>,
    at: DateTime<Utc>,
) -> Result<Vec<SessionId>, DbError> {
    let end = diesel::update(sessions::table)
        .filter(sessions::user_id.eq(user.0))
        .filter(sessions::ended_at.is_null())
        .filter(sessions::id.ne(keep.map_or(-1, |id| id.0)))
        .set(sessions::ended_at.eq(Timestamp(at)))
        .returning(sessions::id);
    Ok(tx.load(end).await?.into_iter().map(SessionId).collect())
}

/// Later than every timestamp in the database: the end of the year 9999.
const END_OF_TIME: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(at) => at,
    None => DateTime::<Utc>::MAX_UTC,
};

#[async_trait]
impl SessionRepository for Repositories {
    async fn create(&self, user: UserId, password: PasswordHash, session: NewSession) -> Result<bool> {
        let done: Result<_, DbError> = self
            .db
            .transaction(async move |tx: &mut Connection<'_>| {
                // Locked until the session exists: a change of the password waits, and then ends the session.
                let unchanged = Locked(
                    users::table
                        .filter(users::id.eq(user.0))
                        .filter(users::password_hash.eq(password.0))
                        .select(users::id),
                );
                if tx.first::<i64, _>(unchanged).await?.is_none() {
                    return Ok(false);
                }
                insert_session(tx, user, &session).await?;
                Ok(true)
            })
            .await;
        Ok(done?)
    }

    async fn find_active(&self, id: SessionId, at: DateTime<Utc>) -> Result<Option<ActiveSession>> {
        let query = sessions::table
            .inner_join(users::table)
            .filter(sessions::id.eq(id.0))
            .filter(sessions::ended_at.is_null())
            .filter(sessions::ends_at.gt(Timestamp(at)))
            .select((sessions::user_id, users::is_active, users::is_verified, sessions::ends_at));
        let row: Option<(i64, bool, bool, DateTime<Utc>)> = self.db.first(query).await?;
        Ok(row.map(|(user, is_active, is_verified, ends_at)| ActiveSession {
            user: UserId(user),
            is_active,
            is_verified,
            ends_at,
        }))
    }

    async fn retain_active(&self, ids: Vec<SessionId>, at: DateTime<Utc>) -> Result<Vec<SessionId>> {
        let query = sessions::table
            .inner_join(users::table)
            .filter(sessions::id.eq_any(padded(ids.into_iter().map(|id| id.0).collect())))
            .filter(sessions::ended_at.is_null())
            .filter(sessions::ends_at.gt(Timestamp(at)))
            .filter(users::is_active)
            .filter(users::is_verified)
            .select(sessions::id);
        Ok(self.db.load::<i64, _>(query).await?.into_iter().map(SessionId).collect())
    }

    async fn rotate(&self, refresh: RefreshUse) -> Result<Rotation> {
        let done: Result<_, DbError> = self
            .db
            .write(async move |conn: &mut Connection<'_>| {
                let (session, user, token) = (refresh.session.0, refresh.user.0, refresh.token.0.as_str());
                let at = Timestamp(refresh.at);
                // Of two uses at once the one that read the clock first may come second: without a grace period no
                // time is within it.
                let grace_starts_at = Timestamp(refresh.grace_starts_at.unwrap_or(END_OF_TIME));
                let is_usable = users::table
                    .filter(users::id.eq(sessions::user_id))
                    .filter(users::is_active)
                    .filter(users::is_verified);
                let rotate = diesel::update(sessions::table)
                    .filter(sessions::id.eq(session))
                    .filter(sessions::user_id.eq(user))
                    .filter(sessions::refresh_id.eq(token))
                    .filter(sessions::ended_at.is_null())
                    .filter(sessions::ends_at.gt(at))
                    .filter(exists(is_usable))
                    .set((
                        sessions::previous_refresh.eq(sessions::refresh_id.nullable()),
                        sessions::refresh_id.eq(refresh.successor.0.as_str()),
                        sessions::refreshed_at.eq(at),
                    ))
                    .returning(columns::<RotationRow>());
                if let Some(row) = conn.first::<RotationRow, _>(rotate).await? {
                    return Ok(row.into());
                }
                // Every other token than the one just used ends the session. One statement, so that no two uses at
                // once can see different sessions.
                let end = diesel::update(sessions::table)
                    .filter(sessions::id.eq(session))
                    .filter(sessions::user_id.eq(user))
                    .filter(sessions::ended_at.is_null())
                    .filter(sessions::ends_at.gt(at))
                    .filter(sessions::refresh_id.ne(token))
                    .filter(not(sessions::previous_refresh
                        .is_not_null()
                        .and(sessions::previous_refresh.assume_not_null().eq(token))
                        .and(sessions::refreshed_at.ge(grace_starts_at))))
                    .set(sessions::ended_at.eq(at));
                if conn.execute(end).await? > 0 {
                    return Ok(Rotation::Reused);
                }
                let current = sessions::table
                    .filter(sessions::id.eq(session))
                    .filter(sessions::user_id.eq(user))
                    .filter(sessions::previous_refresh.eq(token))
                    .filter(sessions::refreshed_at.ge(grace_starts_at))
                    .filter(sessions::ended_at.is_null())
                    .filter(sessions::ends_at.gt(at))
                    .select(columns::<RotationRow>());
                Ok(conn
                    .first::<RotationRow, _>(current)
                    .await?
                    .map_or(Rotation::SessionInvalid, Rotation::from))
            })
            .await;
        Ok(done?)
    }

    async fn list_active(
        &self,
        user: UserId,
        at: DateTime<Utc>,
        used_since: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<SessionView>> {
        let query = sessions::table
            .filter(sessions::user_id.eq(user.0))
            .filter(sessions::ended_at.is_null())
            .filter(sessions::ends_at.gt(Timestamp(at)))
            .filter(sessions::refreshed_at.gt(Timestamp(used_since)))
            .order((sessions::refreshed_at.desc(), sessions::id.desc()))
            .limit(limit)
            .select(columns::<SessionRow>());
        Ok(self.db.load::<SessionRow, _>(query).await?.into_iter().map(SessionView::from).collect())
    }

    async fn end(&self, user: UserId, id: SessionId, at: DateTime<Utc>) -> Result<bool> {
        let end = diesel::update(sessions::table)
            .filter(sessions::id.eq(id.0))
            .filter(sessions::user_id.eq(user.0))
            .filter(sessions::ended_at.is_null())
            .set(sessions::ended_at.eq(Timestamp(at)));
        Ok(self.db.execute_as(Importance::Essential, end).await? > 0)
    }

    async fn end_others(&self, user: UserId, keep: SessionId, at: DateTime<Utc>) -> Result<Vec<SessionId>> {
        let work = async move |conn: &mut Connection<'_>| end_sessions(conn, user, Some(keep), at).await;
        Ok(self.db.write_as(Importance::Essential, work).await?)
    }
}
