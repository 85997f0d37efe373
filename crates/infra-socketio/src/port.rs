//! What the sockets need of the rest of the server.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Result,
    notifications::{NotificationId, NotificationView},
    sessions::SessionId,
    users::UserId,
};

/// Who connects, and for how long that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketCaller {
    /// Who: verified, active.
    pub user: UserId,
    /// By which session.
    pub session: SessionId,
    /// When the token expires.
    pub expires_at: DateTime<Utc>,
}

/// Where a user's notifications stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadState {
    /// How many are unread.
    pub unread_count: i64,
    /// The newest (the largest id); zero if there is none.
    pub latest: NotificationId,
}

/// What the sockets need of the use cases. Its methods are called on the runtime that the adapter was given, never
/// on an HTTP worker, and run to their end.
#[async_trait]
pub trait SocketUseCases: Send + Sync + 'static {
    /// The caller whose access token this is: the check that REST uses.
    async fn authenticate(&self, token: String) -> Result<SocketCaller>;

    /// Whether a session still lives. Asked of open connections when revocations may have been missed.
    async fn is_live(&self, session: SessionId) -> Result<bool>;

    /// Another server process has ended these sessions: whatever remembers them as live must forget it. Called before
    /// their connections are closed.
    fn revoked(&self, sessions: &[SessionId]);

    /// Where the notifications of `user` stand now.
    async fn unread_state(&self, user: UserId) -> Result<UnreadState>;

    /// The notifications of `user` with ids above `since`, smallest id first, at most `limit`. They must be read
    /// after the call, from where they were committed to.
    async fn missed_since(
        &self,
        user: UserId,
        since: NotificationId,
        limit: usize,
    ) -> Result<Vec<NotificationView>>;
}
