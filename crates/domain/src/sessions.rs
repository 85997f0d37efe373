//! Sessions. A login creates one; each is a family of refresh tokens.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, passwords::PasswordHash, users::UserId};

/// Identifies a session. Random, below 2^53: a token issued for one database matches no session of another.
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
    /// The only valid refresh token.
    pub refresh: RefreshId,
    /// When it was created.
    pub at: DateTime<Utc>,
    /// When it ends, even if its tokens are refreshed until then.
    pub ends_at: DateTime<Utc>,
    /// The client's `User-Agent`, for the user's list of sessions.
    pub client: Option<String>,
}

/// An active session, with the state of its user that every request depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSession {
    /// Its user.
    pub user: UserId,
    /// Whether the user has not been deactivated.
    pub is_active: bool,
    /// Whether the user's address is verified.
    pub is_verified: bool,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
}

/// A session in its user's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// The client's `User-Agent` at login.
    pub client: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When tokens were last issued for it, at login or by a refresh.
    pub last_used_at: DateTime<Utc>,
    /// When it ends, even if its tokens are refreshed until then.
    pub ends_at: DateTime<Utc>,
}

/// A request to refresh a session.
#[derive(Debug, Clone)]
pub struct RefreshUse {
    /// The session that the token names.
    pub session: SessionId,
    /// The user that the token names.
    pub user: UserId,
    /// The presented token.
    pub token: RefreshId,
    /// The token that replaces it, if it is valid.
    pub successor: RefreshId,
    /// The current time.
    pub at: DateTime<Utc>,
    /// A token that was first used at or after this time yields the same successor again; `None` disables this.
    pub grace_starts_at: Option<DateTime<Utc>>,
}

/// Outcome of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The session has this refresh token now. Within the grace period it is that of the first use.
    Issued {
        /// The only valid token from now on.
        refresh: RefreshId,
        /// When it was first issued.
        issued_at: DateTime<Utc>,
        /// When the session ends.
        ends_at: DateTime<Utc>,
    },
    /// The token had been used before. The session has been ended.
    Reused,
    /// The session is unknown or has ended, or its user may not log in.
    SessionInvalid,
}

/// A verified, active user with an active session, as an access token proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The session of the token.
    pub session: SessionId,
    /// When the token expires.
    pub expires_at: DateTime<Utc>,
}

/// Learns of sessions that this process ended, so that their connections are closed.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait SessionObserver: Send + Sync {
    /// Queues the ended sessions and returns at once. Called after the commit, when their tokens are refused already.
    fn ended(&self, sessions: &[SessionId]);
}

/// Authenticates connections that outlive a single request, and checks their sessions later on.
#[async_trait]
pub trait SessionAuthenticator: Send + Sync {
    /// Returns the caller of an access token. Asks the repository, unless the session is known to have ended.
    ///
    /// # Errors
    /// The errors that REST returns for the same token.
    async fn authenticate(&self, access_token: String) -> Result<Caller>;

    /// Returns which of these sessions have ended, through whichever process, or belong to a user who is not active and
    /// verified any more. One query for all.
    async fn find_ended(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>>;

    /// Returns whether a session is known to have ended. Asks no repository: `false` means little, but after
    /// [`mark_ended`](Self::mark_ended) it is not returned.
    fn has_ended(&self, session: SessionId) -> bool;

    /// Refuses the tokens of sessions whose end is committed, from now on.
    fn mark_ended(&self, sessions: &[SessionId]);
}

/// Stores sessions.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait SessionRepository: Send + Sync {
    /// Stores a session if the password of `user` still is `password`, and returns whether it is. So a login that
    /// verified the old password while it was being changed creates no session.
    async fn create(&self, user: UserId, password: PasswordHash, session: NewSession) -> Result<bool>;

    /// Returns the session if it is active at `at`.
    async fn find_active(&self, id: SessionId, at: DateTime<Utc>) -> Result<Option<ActiveSession>>;

    /// Returns those of these sessions that are active at `at` and belong to active, verified users.
    async fn retain_active(&self, ids: Vec<SessionId>, at: DateTime<Utc>) -> Result<Vec<SessionId>>;

    /// Replaces the refresh token of a session. Of concurrent calls with the same token, exactly one replaces it.
    async fn rotate(&self, refresh: RefreshUse) -> Result<Rotation>;

    /// Lists up to `limit` sessions of `user` that are active at `at` and were used after `used_since`, the most
    /// recently used first.
    async fn list_active(
        &self,
        user: UserId,
        at: DateTime<Utc>,
        used_since: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<SessionView>>;

    /// Ends a session of `user`. Returns whether it was active.
    async fn end(&self, user: UserId, id: SessionId, at: DateTime<Utc>) -> Result<bool>;

    /// Ends all sessions of `user` except `keep`. Returns those that were active.
    async fn end_others(&self, user: UserId, keep: SessionId, at: DateTime<Utc>) -> Result<Vec<SessionId>>;
}
