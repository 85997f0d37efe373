//! One's own sessions.

use actix_web::{delete, get, web::Json};
use api_types::format_timestamp;
use application::sessions::ListedSession;
use domain::sessions::SessionId;
use serde::Serialize;
use utoipa::ToSchema;

use super::Done;
use crate::{error::Result, request::context::RequestContext};

/// A session: a login, and what it is refreshed to.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionResponse {
    /// The session; the claim `sid` of its tokens.
    #[schema(example = 4_503_599_627_370_497_i64)]
    id: i64,
    /// What the client called itself when it logged in (`User-Agent`).
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    client: Option<String>,
    /// When it logged in.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    created_at: String,
    /// When it got its newest tokens. Requests with them are not recorded.
    #[schema(format = DateTime, example = "2026-01-23T11:30:00.123456Z")]
    last_used_at: String,
    /// When it ends unless it is refreshed before.
    #[schema(format = DateTime, example = "2026-01-30T11:30:00.123456Z")]
    expires_at: String,
    /// Whether it is the session of this request.
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

/// One's sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionListResponse {
    /// Those first that were used last, 100 at most.
    sessions: Vec<SessionResponse>,
}

/// Sessions that have been ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndedSessionsResponse {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// What was done.
    #[schema(example = "Other sessions ended")]
    message: &'static str,
    /// How many.
    #[schema(example = 2)]
    ended: usize,
}

/// Lists the devices on which one is logged in, those first that were used last, 100 at most.
#[utoipa::path(tag = "users", security(("access" = [])), responses((status = 200, body = SessionListResponse)))]
#[get("/users/me/sessions")]
pub(crate) async fn list(context: RequestContext) -> Result<Json<SessionListResponse>> {
    let caller = context.verified().await?;
    let sessions = context.run(|services| async move { services.sessions.list(caller).await }).await?;
    Ok(Json(SessionListResponse { sessions: sessions.into_iter().map(Into::into).collect() }))
}

/// Ends one session: its tokens open nothing any more, and its sockets close. It may be the one of this request.
#[utoipa::path(
    tag = "users",
    security(("access" = [])),
    params(("session_id" = i64, Path, description = "The session", example = 4_503_599_627_370_497_i64)),
    responses((status = 200, body = Done))
)]
#[delete("/users/me/sessions/{session_id}")]
pub(crate) async fn end(context: RequestContext) -> Result<Json<Done>> {
    let caller = context.verified().await?;
    let session = SessionId(context.id("session_id")?);
    context.run(|services| async move { services.sessions.end(caller, session).await }).await?;
    Ok(Done::new("Session ended"))
}

/// Ends all other sessions, and keeps the one of this request.
#[utoipa::path(tag = "users", security(("access" = [])), responses((status = 200, body = EndedSessionsResponse)))]
#[delete("/users/me/sessions")]
pub(crate) async fn end_others(context: RequestContext) -> Result<Json<EndedSessionsResponse>> {
    let caller = context.verified().await?;
    let ended = context.run(|services| async move { services.sessions.end_others(caller).await }).await?;
    Ok(Json(EndedSessionsResponse { success: true, message: "Other sessions ended", ended }))
}
