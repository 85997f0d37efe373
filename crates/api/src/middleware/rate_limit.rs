//! Limits for each client: identifies it, counts its request and bounds the body, and reports the rate limit in the
//! response's headers.

use actix_web::{
    Error, HttpMessage as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, Uri,
        header::{HeaderName, HeaderValue},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use application::{
    rate_limit::{RateLimitClass, RateLimitDecision, Subject},
    tokens::{AccessToken, RefreshToken, TokenService},
};
use domain::{
    sessions::{SessionAuthenticator as _, SessionId},
    users::UserId,
};

use super::{request_id::RequestId, response_memory::bound_response};
use crate::{
    error::whole_seconds,
    request::{
        bearer,
        body_stream::bound_body,
        client_addr::ClientInfo,
        rate_limit::{ReportedLimit, enforce},
    },
    state::AppState,
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Counts each request to its user or, without a valid token, to its client's address.
pub(crate) async fn rate_limit(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<AppState>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let peer = request.peer_addr().map(|peer| peer.ip());
    let client = ClientInfo::of(peer, request.headers(), &state.trusted_proxies);
    let address = client.address;
    request.extensions_mut().insert(client);
    bound_body(&mut request, state.bodies.pace, &state.bodies.memory, address);

    let class = class_of(request.method(), request.uri()).filter(|class| state.limits.is_limited(*class));
    if let Some(class) = class {
        let account = token_subject(&request, &state.services.accounts.tokens);
        // The token of an ended session is signed correctly, but must not use up its user's quota.
        let account = account.filter(|(_, session)| !state.services.sessions.has_ended(*session));
        let subject = account.map_or(Subject::Address(address), |(user, _)| Subject::Account(user));
        if let Err(error) = enforce(&state, request.request(), class, subject).await {
            let id =
                request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default();
            let mut response = request.into_response(error.to_response(&id));
            set_headers(&mut response);
            return Ok(response);
        }
    }
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = bound_response(response, &state.bodies.memory, address);
    set_headers(&mut response);
    Ok(response)
}

/// Returns the general class of a request, or `None` if it is not limited here. Handlers enforce narrower limits
/// themselves, since only they are certain to be reached however the path was written. The messages of a Socket.IO session
/// have limits of their own, and health checks are never refused.
fn class_of(method: &Method, uri: &Uri) -> Option<RateLimitClass> {
    let path = uri.path().trim_end_matches('/');
    if path.starts_with("/socket.io") {
        let begins_session = !uri.query().unwrap_or_default().split('&').any(|pair| pair.starts_with("sid="));
        return begins_session.then_some(RateLimitClass::Default);
    }
    if ["/livez", "/readyz"].contains(&path) {
        return None;
    }
    let narrowly_limited = ["register", "verify-otp", "login", "forgot-password", "reset-password"];
    let is_narrowly_limited =
        path.strip_prefix("/users/").is_some_and(|last| narrowly_limited.contains(&last));
    Some(match path {
        "/users/refresh" => RateLimitClass::Write,
        _ if is_narrowly_limited || method == Method::GET || method == Method::HEAD => {
            RateLimitClass::Default
        }
        _ => RateLimitClass::Write,
    })
}

/// Returns the user and the session of a correctly signed token. Keeps the claims of an access token for the handler.
fn token_subject(request: &ServiceRequest, tokens: &TokenService) -> Option<(UserId, SessionId)> {
    let token = bearer(request.headers())?;
    if let Ok(claims) = tokens.verify_access(AccessToken(token)) {
        request.extensions_mut().insert(claims);
        return Some((claims.user, claims.session));
    }
    tokens.verify_refresh(&RefreshToken(token.to_owned())).map(|claims| (claims.user, claims.session)).ok()
}

/// Sets the `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers): the policy, the remaining quota, and the seconds
/// until all of it is available again.
fn set_headers(response: &mut ServiceResponse<BoxBody>) {
    let Some(ReportedLimit(verdict)) = response.request().extensions().get::<ReportedLimit>().copied() else {
        return;
    };
    let RateLimitDecision { class, limit, state } = verdict;
    let used = limit.quota.saturating_sub(state.remaining);
    let (name, reset) = (class.name(), whole_seconds(limit.interval() * used));
    for (header, text) in [
        (POLICY, format!("\"{name}\";q={};w={}", limit.quota, limit.window.as_secs())),
        (STATE, format!("\"{name}\";r={};t={reset}", state.remaining)),
    ] {
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
            response.headers_mut().insert(header, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_depends_on_method_and_path() {
        for (method, path, class) in [
            (Method::GET, "/posts", Some(RateLimitClass::Default)),
            (Method::HEAD, "/posts/1/", Some(RateLimitClass::Default)),
            (Method::POST, "/posts/", Some(RateLimitClass::Write)),
            (Method::DELETE, "/users/me/sessions", Some(RateLimitClass::Write)),
            (Method::GET, "/users/refresh", Some(RateLimitClass::Write)),
            (Method::POST, "/users/change-password/", Some(RateLimitClass::Write)),
            (Method::POST, "/users/login/", Some(RateLimitClass::Default)),
            (Method::GET, "/readyz", None),
            (Method::GET, "/socket.io/?EIO=4&transport=polling", Some(RateLimitClass::Default)),
            (Method::POST, "/socket.io/?EIO=4&transport=polling&sid=x", None),
            (Method::PATCH, "/no/such/path", Some(RateLimitClass::Write)),
        ] {
            assert_eq!(class_of(&method, &path.parse().unwrap()), class, "{method} {path}");
        }
    }
}
