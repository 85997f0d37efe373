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
    sessions::Caller,
    tokens::AccessToken,
};

use url::form_urlencoded;

use super::{request_id::RequestId, response_memory::bound_response};
use crate::{
    error::whole_seconds,
    request::{
        Authentication, bearer,
        body_stream::bound_body,
        client_addr::ClientInfo,
        rate_limit::{ReportedLimit, enforce},
    },
    state::AppState,
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Counts each request to its user or, without an access token of a live session, to its client's address.
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

    let class = class_of(request.method(), request.uri(), |sid| state.sockets.has_session(sid));
    let class = class.filter(|class| state.limits.is_limited(*class));
    if let Some(class) = class {
        let caller = authenticate(&request, &state).await;
        let subject = caller.map_or(Subject::Address(address), |caller| Subject::Account(caller.user));
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
/// themselves, since only they are certain to be reached however the path was written. The messages of an open Socket.IO
/// session have limits of their own, and health checks are never refused.
fn class_of(method: &Method, uri: &Uri, has_session: impl Fn(&str) -> bool) -> Option<RateLimitClass> {
    let path = uri.path().trim_end_matches('/');
    if path.starts_with("/socket.io") {
        let parameters = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let sid = parameters.filter(|(name, _)| name == "sid").last();
        let is_message = sid.is_some_and(|(_, sid)| has_session(&sid));
        return (!is_message).then_some(RateLimitClass::Default);
    }
    if ["/livez", "/readyz"].contains(&path) {
        return None;
    }
    let narrowly_limited = ["register", "verify-otp", "login", "forgot-password", "reset-password"];
    let is_narrowly_limited =
        path.strip_prefix("/users/").is_some_and(|last| narrowly_limited.contains(&last));
    Some(match path {
        "/users/refresh" => RateLimitClass::Write,
        _ if is_narrowly_limited || [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) => {
            RateLimitClass::Default
        }
        _ => RateLimitClass::Write,
    })
}

/// Returns the caller, and keeps the result for the handler.
///
/// The token of an ended session is signed correctly, but must not use up its user's quota: so the session is looked up,
/// on public routes and unknown paths too. Only tokens that this server signed reach the database, and those of a
/// session once in some seconds. Refresh tokens never count to the account: they are stored for days, in more places.
async fn authenticate(request: &ServiceRequest, state: &AppState) -> Option<Caller> {
    let token = AccessToken(bearer(request.headers())?);
    let claims = state.services.accounts.tokens.verify_access(token).ok()?;
    let result = state.authenticate(claims).await;
    let caller = result.as_ref().ok().copied();
    request.extensions_mut().insert(Authentication(result));
    caller
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
            (Method::POST, "/socket.io/?EIO=4&transport=polling&sid=open", None),
            (Method::POST, "/socket.io/?EIO=4&transport=polling&sid=unknown", Some(RateLimitClass::Default)),
            (Method::GET, "/socket.io/?sid=open&sid=unknown", Some(RateLimitClass::Default)),
            (Method::OPTIONS, "/", Some(RateLimitClass::Default)),
            (Method::PATCH, "/no/such/path", Some(RateLimitClass::Write)),
        ] {
            assert_eq!(
                class_of(&method, &path.parse().unwrap(), |sid| sid == "open"),
                class,
                "{method} {path}"
            );
        }
    }
}
