//! Sessions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    passwords::PasswordHash,
    sessions::{ActiveSession, NewSession, RefreshUse, Rotation, SessionId, SessionRepository, SessionView},
    users::UserId,
};

use super::store::{InMemory, Session, Tables};

impl Tables {
    pub(super) fn insert_session(&mut self, user: UserId, new: NewSession) {
        let session = Session {
            user,
            refresh: new.refresh,
            previous: None,
            refreshed_at: new.at,
            client: new.client,
            created_at: new.at,
            ends_at: new.ends_at,
            has_ended: false,
        };
        self.sessions.insert(new.id.0, session);
    }

    /// Ends all sessions of a user except `keep`, and returns them.
    pub(super) fn end_sessions(&mut self, user: UserId, keep: Option<SessionId>) -> Vec<SessionId> {
        let mut ended = Vec::new();
        for (id, session) in &mut self.sessions {
            if session.user == user && !session.has_ended && keep != Some(SessionId(*id)) {
                session.has_ended = true;
                ended.push(SessionId(*id));
            }
        }
        ended
    }
}

#[async_trait]
impl SessionRepository for InMemory {
    async fn create(&self, user: UserId, password: PasswordHash, session: NewSession) -> Result<bool> {
        let mut tables = self.lock();
        let is_current = tables.users.get(&user.0).is_some_and(|user| user.password == password);
        if is_current {
            tables.insert_session(user, session);
        }
        Ok(is_current)
    }

    async fn find_active(&self, id: SessionId, at: DateTime<Utc>) -> Result<Option<ActiveSession>> {
        let tables = self.lock();
        let session = tables.sessions.get(&id.0).filter(|session| session.is_active(at));
        Ok(session.map(|session| ActiveSession {
            user: session.user,
            is_active: tables.active_user(session.user).is_some(),
            is_verified: true,
            ends_at: session.ends_at,
        }))
    }

    async fn retain_active(&self, ids: Vec<SessionId>, at: DateTime<Utc>) -> Result<Vec<SessionId>> {
        let tables = self.lock();
        let is_retained = |id: &SessionId| {
            let session = tables.sessions.get(&id.0);
            session.is_some_and(|session| session.is_active(at) && tables.active_user(session.user).is_some())
        };
        Ok(ids.into_iter().filter(is_retained).collect())
    }

    async fn rotate(&self, refresh: RefreshUse) -> Result<Rotation> {
        let mut tables = self.lock();
        let is_usable = tables.active_user(refresh.user).is_some();
        let session = tables.sessions.get_mut(&refresh.session.0);
        let Some(session) =
            session.filter(|session| session.user == refresh.user && session.is_active(refresh.at))
        else {
            return Ok(Rotation::SessionInvalid);
        };
        if session.refresh == refresh.token {
            if !is_usable {
                return Ok(Rotation::SessionInvalid);
            }
            session.previous = Some(std::mem::replace(&mut session.refresh, refresh.successor));
            session.refreshed_at = refresh.at;
        } else {
            let is_in_grace = refresh.grace_starts_at.is_some_and(|start| session.refreshed_at >= start);
            if session.previous.as_ref() != Some(&refresh.token) || !is_in_grace {
                session.has_ended = true;
                return Ok(Rotation::Reused);
            }
        }
        Ok(Rotation::Issued {
            refresh: session.refresh.clone(),
            issued_at: session.refreshed_at,
            ends_at: session.ends_at,
        })
    }

    async fn list_active(
        &self,
        user: UserId,
        at: DateTime<Utc>,
        used_since: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<SessionView>> {
        let tables = self.lock();
        let is_listed = |session: &Session| {
            session.user == user && session.is_active(at) && session.refreshed_at > used_since
        };
        let mut sessions: Vec<_> = tables
            .sessions
            .iter()
            .filter(|(_, session)| is_listed(session))
            .map(|(id, session)| SessionView {
                id: SessionId(*id),
                client: session.client.clone(),
                created_at: session.created_at,
                last_used_at: session.refreshed_at,
                ends_at: session.ends_at,
            })
            .collect();
        sessions.sort_by_key(|session| std::cmp::Reverse((session.last_used_at, session.id.0)));
        sessions.truncate(usize::try_from(limit).unwrap_or_default());
        Ok(sessions)
    }

    async fn end(&self, user: UserId, id: SessionId, _at: DateTime<Utc>) -> Result<bool> {
        let mut tables = self.lock();
        let session = tables.sessions.get_mut(&id.0);
        let Some(session) = session.filter(|session| session.user == user && !session.has_ended) else {
            return Ok(false);
        };
        session.has_ended = true;
        Ok(true)
    }

    async fn end_others(&self, user: UserId, keep: SessionId, _at: DateTime<Utc>) -> Result<Vec<SessionId>> {
        Ok(self.lock().end_sessions(user, Some(keep)))
    }
}
