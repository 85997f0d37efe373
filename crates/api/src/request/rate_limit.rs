//! Counts requests towards rate limits.

use actix_web::{HttpMessage as _, HttpRequest};
use application::rate_limit::{RateLimitClass, RateLimitDecision, Subject};

use super::client_addr::address_of;
use crate::{error::ApiError, state::AppState};

/// The limit that the response's `RateLimit` headers report: the narrowest that was checked.
#[derive(Clone, Copy)]
pub(crate) struct ReportedLimit(pub(crate) RateLimitDecision);

/// Counts one request of a subject.
///
/// # Errors
/// 429 if the subject is over its limit.
pub(crate) async fn enforce(
    state: &AppState,
    request: &HttpRequest,
    class: RateLimitClass,
    subject: Subject<'_>,
) -> Result<(), ApiError> {
    let Some(decision) = state.limits.check(class, subject).await else { return Ok(()) };
    request.extensions_mut().insert(ReportedLimit(decision));
    if decision.state.is_allowed { Ok(()) } else { Err(ApiError::rate_limited(decision.state.retry_after)) }
}

/// Counts one request of a client that names an account without proof of owning it: for the pair of address and name,
/// and then for the address.
pub(crate) async fn enforce_by_name(
    state: &AppState,
    request: &HttpRequest,
    class: RateLimitClass,
    name: Option<&str>,
) -> Result<(), ApiError> {
    let address = address_of(request);
    if let Some(name) = name {
        enforce(state, request, class, Subject::Login(address, name)).await?;
    }
    let narrowest = request.extensions().get::<ReportedLimit>().copied();
    enforce(state, request, class, Subject::Address(address)).await?;
    // Fewer requests remain for the name than for the address.
    if let (Some(_), Some(narrowest)) = (name, narrowest) {
        request.extensions_mut().insert(narrowest);
    }
    Ok(())
}
