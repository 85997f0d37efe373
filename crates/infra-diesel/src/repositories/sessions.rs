//! Sessions and the rotation of their refresh tokens.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    accounts::PasswordHash,
    sessions::{
        ActiveSession, NewSession, RefreshId, RefreshUse, Rotation, SessionId, SessionRepository, SessionView,
    },
    users::UserId,
};

use super::{
    super::Connection,
    FAR_FUTURE, NumberRow, Repositories,
    accounts::end_sessions,
    row::{Backend, Columns, row},
    statement::{Literal, Statement, sql},
};
use crate::error::Fault;

row! {
    struct ActiveSessionRow {
        user_id: i64,
        is_active: bool,
        is_verified: bool,
        ends_at: DateTime<Utc>,
    }
}

row! {
    struct RotationRow {
        refresh_id: String,
        refreshed_at: DateTime<Utc>,
        ends_at: DateTime<Utc>,
    }
}

impl From<RotationRow> for Rotation {
    fn from(row: RotationRow) -> Self {
        Self::Issued { refresh: RefreshId(row.refresh_id), issued_at: row.refreshed_at, ends_at: row.ends_at }
    }
}

row! {
    struct SessionViewRow {
        id: i64,
        client: Option<String>,
        created_at: DateTime<Utc>,
        refreshed_at: DateTime<Utc>,
        ends_at: DateTime<Utc>,
    }
}

impl From<SessionViewRow> for SessionView {
    fn from(row: SessionViewRow) -> Self {
        Self {
            id: SessionId(row.id),
            client: row.client,
            created_at: row.created_at,
            last_used_at: row.refreshed_at,
            ends_at: row.ends_at,
        }
    }
}

pub(super) async fn insert_session(
    tx: &mut Connection,
    user: UserId,
    session: &NewSession,
) -> Result<(), Fault> {
    sql!(
        "INSERT INTO sessions (id, user_id, refresh_id, refreshed_at, client, created_at, ends_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        session.id.0,
        user.0,
        session.refresh.0.as_str(),
        session.at,
        session.client.clone(),
        session.at,
        session.ends_at
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[async_trait]
impl SessionRepository for Repositories {
    async fn begin(&self, user: UserId, password: PasswordHash, session: NewSession) -> Result<bool> {
        let done: Result<_, Fault> = transaction!(self, |tx| {
            // Locked until the session is there: a change of the password waits, and then ends it.
            let unchanged = sql!(
                concat!("SELECT id AS value FROM users WHERE id = ? AND password_hash = ?", locked!()),
                user.0,
                password.0
            );
            if unchanged.first::<NumberRow, _>(tx).await?.is_none() {
                return Ok(false);
            }
            insert_session(tx, user, &session).await?;
            Ok(true)
        });
        Ok(done?)
    }

    async fn find_active(&self, id: SessionId, at: DateTime<Utc>) -> Result<Option<ActiveSession>> {
        let mut conn = self.reader().await?;
        let found = sql!(
            "SELECT s.user_id, u.is_active, u.is_verified, s.ends_at
             FROM sessions s JOIN users u ON u.id = s.user_id
             WHERE s.id = ? AND s.ended_at IS NULL AND s.ends_at > ?",
            id.0,
            at
        );
        Ok(found.first::<ActiveSessionRow, _>(&mut conn).await?.map(|row| ActiveSession {
            user: UserId(row.user_id),
            is_active: row.is_active,
            is_verified: row.is_verified,
            ends_at: row.ends_at,
        }))
    }

    async fn rotate(&self, refresh: RefreshUse) -> Result<Rotation> {
        let done = autocommit!(self, |conn| {
            let (session, presented) = (refresh.session.0, refresh.presented.0.as_str());
            // Of two uses at once the one that read the clock first may come second: without a grace no moment is in it.
            let grace_since = refresh.grace_since.unwrap_or(FAR_FUTURE);
            let rotated = sql!(
                "UPDATE sessions SET previous_refresh = refresh_id, refresh_id = ?, refreshed_at = ?
                 WHERE id = ? AND user_id = ? AND refresh_id = ? AND ended_at IS NULL AND ends_at > ?
                   AND EXISTS (SELECT 1 FROM users WHERE id = user_id AND is_active AND is_verified)
                 RETURNING refresh_id, refreshed_at, ends_at",
                refresh.successor.0,
                refresh.at,
                session,
                refresh.user.0,
                presented,
                refresh.at
            );
            if let Some(row) = rotated.first::<RotationRow, _>(conn).await? {
                return Ok(row.into());
            }
            // Every other token but the one just used ends the family. One statement, so that no two uses at
            // once can see different sessions.
            let ended = sql!(
                "UPDATE sessions SET ended_at = ?
                 WHERE id = ? AND user_id = ? AND ended_at IS NULL AND ends_at > ? AND refresh_id <> ?
                   AND NOT (coalesce(previous_refresh, '') = ? AND refreshed_at >= ?)",
                refresh.at,
                session,
                refresh.user.0,
                refresh.at,
                presented,
                presented,
                grace_since
            );
            if ended.execute(conn).await? > 0 {
                return Ok(Rotation::Reused);
            }
            let same = sql!(
                "SELECT refresh_id, refreshed_at, ends_at FROM sessions
                 WHERE id = ? AND user_id = ? AND previous_refresh = ? AND refreshed_at >= ?
                   AND ended_at IS NULL AND ends_at > ?",
                session,
                refresh.user.0,
                presented,
                grace_since,
                refresh.at
            );
            Ok(same.first::<RotationRow, _>(conn).await?.map_or(Rotation::Gone, Rotation::from))
        });
        Ok(done?)
    }

    async fn list_active(
        &self,
        user: UserId,
        at: DateTime<Utc>,
        used_since: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<SessionView>> {
        let mut conn = self.reader().await?;
        let found = sql!(
            "SELECT id, client, created_at, refreshed_at, ends_at FROM sessions
             WHERE user_id = ? AND ended_at IS NULL AND ends_at > ? AND refreshed_at > ?
             ORDER BY refreshed_at DESC, id DESC LIMIT ?",
            user.0,
            at,
            used_since,
            Literal(limit)
        );
        Ok(found.load::<SessionViewRow, _>(&mut conn).await?.into_iter().map(SessionView::from).collect())
    }

    async fn end(&self, user: UserId, id: SessionId, at: DateTime<Utc>) -> Result<bool> {
        let ended = sql!(
            "UPDATE sessions SET ended_at = ? WHERE id = ? AND user_id = ? AND ended_at IS NULL",
            at,
            id.0,
            user.0
        );
        Ok(autocommit!(self, |conn| { ended.execute(conn).await })? > 0)
    }

    async fn end_others(&self, user: UserId, keep: SessionId, at: DateTime<Utc>) -> Result<Vec<SessionId>> {
        Ok(autocommit!(self, |conn| { end_sessions(conn, user, Some(keep), at).await })?)
    }
}
