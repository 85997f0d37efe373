//! Sessions of the caller.

use actix_web::{
    delete, get,
    web::{Data, Json},
};
use api_types::format_timestamp;
use application::sessions::ListedSession;
use domain::sessions::SessionId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{NoStore, SuccessResponse};
use crate::{
    error::Result,
    request::{AuthenticatedUser, Checked, PathId},
    state::AppState,
};

/// A session: a login and all tokens refreshed from it.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionResponse {
    /// Id of the session: the claim `sid` of its tokens.
    #[schema(example = 4_503_599_627_370_497_i64)]
    id: i64,
    /// The `User-Agent` of the login.
    #[schema(required, example = "Mozilla/5.0 (X11; Linux x86_64)")]
    client: Option<String>,
    /// When the session began.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    created_at: String,
    /// When the session's newest tokens were issued. Requests that use them are not recorded.
    #[schema(format = DateTime, example = "2026-01-23T11:30:00.123456Z")]
    last_used_at: String,
    /// When the session ends unless it is refreshed.
    #[schema(format = DateTime, example = "2026-01-30T11:30:00.123456Z")]
    expires_at: String,
    /// Whether this request belongs to the session.
    #[schema(example = true)]
    current: bool,
}

impl From<ListedSession> for SessionResponse {
    fn from(listed: ListedSession) -> Self {
        Self {
            id: listed.session.id.0,
            client: listed.session.client,
            created_at: format_timestamp(listed.session.created_at),
            last_used_at: format_timestamp(listed.session.last_used_at),
            expires_at: format_timestamp(listed.expires_at),
            current: listed.is_current,
        }
    }
}

/// The caller's sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionListResponse {
    /// Sessions, last used first; at most 100.
    sessions: Vec<SessionResponse>,
}

/// The number of ended sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndedSessionsResponse {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// What was done.
    #[schema(example = "Other sessions ended")]
    message: &'static str,
    /// Number of ended sessions.
    #[schema(example = 2)]
    ended: usize,
}

/// Lists the caller's sessions, last used first, at most 100.
#[utoipa::path(
    operation_id = "listSessions",
    tag = "accounts",
    security(("access" = [])),
    responses((status = 200, description = "The sessions", body = SessionListResponse))
)]
#[get("/users/me/sessions")]
pub(crate) async fn list(
    Checked(caller): Checked<AuthenticatedUser>,
    state: Data<AppState>,
) -> Result<NoStore<SessionListResponse>> {
    let sessions = state.run(|services| async move { services.sessions.list(caller).await }).await?;
    Ok(NoStore(SessionListResponse { sessions: sessions.into_iter().map(Into::into).collect() }))
}

/// Ends a session: revokes its tokens and closes its sockets.
///
/// It can be the current session.
#[utoipa::path(
    operation_id = "endSession",
    tag = "accounts",
    security(("access" = [])),
    params(("session_id" = i64, Path, description = "Id of the session", example = 4_503_599_627_370_497_i64)),
    responses((status = 200, description = "The session has ended", body = SuccessResponse))
)]
#[delete("/users/me/sessions/{session_id}")]
pub(crate) async fn end(
    Checked((caller, session)): Checked<(AuthenticatedUser, PathId<SessionId>)>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.sessions.end(caller, session).await }).await?;
    Ok(SuccessResponse::new("Session ended"))
}

/// Ends all sessions of the caller except the one of this request.
#[utoipa::path(
    operation_id = "endOtherSessions",
    tag = "accounts",
    security(("access" = [])),
    responses((status = 200, description = "The other sessions have ended", body = EndedSessionsResponse))
)]
#[delete("/users/me/sessions")]
pub(crate) async fn end_others(
    Checked(caller): Checked<AuthenticatedUser>,
    state: Data<AppState>,
) -> Result<Json<EndedSessionsResponse>> {
    let ended = state.run(|services| async move { services.sessions.end_others(caller).await }).await?;
    Ok(Json(EndedSessionsResponse { success: true, message: "Other sessions ended", ended }))
}
