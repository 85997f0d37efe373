//! Sessions: one a login, each a family of refresh tokens.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, accounts::PasswordHash, users::UserId};

/// Identifies a session. Random and below 2^53, so that no token of one database fits another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub i64);

/// Identifies a refresh token within its session (the claim `jti`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshId(pub String);

/// A session before it is stored.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// The only refresh token that may be used.
    pub refresh: RefreshId,
    /// When it began.
    pub at: DateTime<Utc>,
    /// When it ends, whatever is refreshed until then.
    pub ends_at: DateTime<Utc>,
    /// What the client calls itself (`User-Agent`), for the user's list of sessions.
    pub client: Option<String>,
}

/// A session that lives, and what must be known of its user at every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSession {
    /// Whose it is.
    pub user: UserId,
    /// Whether they have been deactivated.
    pub is_active: bool,
    /// Whether their address is verified.
    pub is_verified: bool,
    /// When the session ends.
    pub ends_at: DateTime<Utc>,
}

/// A session as its user sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// What the client called itself when it logged in.
    pub client: Option<String>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When its tokens were issued last: at the login, or by a refresh.
    pub last_used_at: DateTime<Utc>,
    /// When it ends, whatever is refreshed until then.
    pub ends_at: DateTime<Utc>,
}

/// A use of a refresh token.
#[derive(Debug, Clone)]
pub struct RefreshUse {
    /// The session it names.
    pub session: SessionId,
    /// The user it names.
    pub user: UserId,
    /// The token.
    pub token: RefreshId,
    /// The token that follows it, if it may be used.
    pub successor: RefreshId,
    /// When it is used.
    pub at: DateTime<Utc>,
    /// A token that was used at or after this moment gets its successor again; `None`: whenever it was used, it does not.
    pub grace_starts_at: Option<DateTime<Utc>>,
}

/// What became of the use of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// This token is the successor, issued at this moment. Within the grace it is the one of the first use.
    Issued {
        /// The only token that may be used from now on.
        refresh: RefreshId,
        /// When it was issued first.
        issued_at: DateTime<Utc>,
        /// When the session ends.
        ends_at: DateTime<Utc>,
    },
    /// The token had been used before; its session has been ended.
    Reused,
    /// There is no such session, or it has ended, or its user may not log in.
    SessionInvalid,
}

/// Hears of sessions that have been ended, once that is committed: their connections must go.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait SessionObserver: Send + Sync {
    /// These have been ended.
    fn ended(&self, sessions: &[SessionId]);
}

/// Stores sessions.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait SessionRepository: Send + Sync {
    /// Begins a session of `user` if their password still is `password`; whether it is. A login that verified the
    /// old password while it was being changed begins none.
    async fn create(&self, user: UserId, password: PasswordHash, session: NewSession) -> Result<bool>;

    /// The session, if it lives at `at`.
    async fn find_active(&self, id: SessionId, at: DateTime<Utc>) -> Result<Option<ActiveSession>>;

    /// Replaces the refresh token of a session, once for each token however many use it at once.
    async fn rotate(&self, refresh: RefreshUse) -> Result<Rotation>;

    /// The sessions of `user` that live at `at` and were used after `used_since`, `limit` at most, those first that
    /// were used last.
    async fn list_active(
        &self,
        user: UserId,
        at: DateTime<Utc>,
        used_since: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<SessionView>>;

    /// Ends a session of `user`; whether it lived.
    async fn end(&self, user: UserId, id: SessionId, at: DateTime<Utc>) -> Result<bool>;

    /// Ends all sessions of `user` but `keep`, and names those that lived.
    async fn end_others(&self, user: UserId, keep: SessionId, at: DateTime<Utc>) -> Result<Vec<SessionId>>;
}
