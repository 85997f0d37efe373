//! Authenticates the clients of Socket.IO.

use application::{
    rate_limit::{RateLimitClass, RateLimitService, Subject},
    sessions::{Caller, SessionService},
};
use async_trait::async_trait;
use domain::{
    Error, Result,
    sessions::{SessionAuthenticator, SessionId},
};

/// Authenticates sockets as REST does, and limits how often those of an account do so: each connection may read all
/// notifications that it missed.
pub(crate) struct SocketAuthenticator {
    pub(crate) sessions: SessionService,
    pub(crate) limits: RateLimitService,
}

#[async_trait]
impl SessionAuthenticator for SocketAuthenticator {
    async fn authenticate(&self, access_token: String) -> Result<Caller> {
        let caller = SessionAuthenticator::authenticate(&self.sessions, access_token).await?;
        match self.limits.check(RateLimitClass::Connect, Subject::Account(caller.user)).await {
            Some(decision) if !decision.state.is_allowed => Err(Error::RATE_LIMITED),
            _ => Ok(caller),
        }
    }

    async fn find_ended(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>> {
        self.sessions.find_ended(sessions).await
    }

    fn has_ended(&self, session: SessionId) -> bool {
        self.sessions.has_ended(session)
    }

    fn mark_ended(&self, sessions: &[SessionId]) {
        self.sessions.mark_ended(sessions);
    }
}
