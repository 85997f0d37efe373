//! Limits on the way in: who is counted for which request, and what clients are told of it.

use std::time::Duration;

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use api_types::bearer_token;
use application::{
    rate_limit::{RateLimitClass, Subject, Verdict},
    tokens::{AccessToken, RefreshToken, Tokens},
};
use domain::{sessions::SessionId, users::UserId};
use moka::sync::Cache;

use crate::{
    app::App,
    client::{Client, address_of},
    error::ApiError,
    observe::RequestId,
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Sessions that have ended: who shows their tokens does not count as their user.
#[derive(Clone)]
pub(crate) struct Ended(Cache<SessionId, ()>);

impl Default for Ended {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(50_000).time_to_live(Duration::from_hours(1)).build())
    }
}

/// The verdict that the answer shows: of the narrowest limit that was asked.
#[derive(Clone, Copy)]
struct Shown(Verdict);

/// Above the routes: notes who is calling from where, and holds them to their limits.
pub(crate) async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(app) = request.app_data::<Data<App>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let peer = request.peer_addr().map(|peer| peer.ip());
    let client = Client::of(peer, request.headers(), &app.proxies);
    let address = client.address;
    request.extensions_mut().insert(client);

    let mut session = None;
    let class = class_of(request.method(), request.path()).filter(|class| app.limits.limits(*class));
    if let Some(class) = class {
        let known = account(&request, &app.services.accounts.tokens);
        let known = known.filter(|(_, session)| !app.ended.0.contains_key(session));
        session = known.map(|(_, session)| session);
        let subject = known.map_or(Subject::Address(address), |(user, _)| Subject::Account(user));
        if let Err(error) = take(&app, request.request(), class, subject).await {
            let id =
                request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default();
            let mut answer = request.into_response(error.render(&id));
            show(&mut answer);
            return Ok(answer);
        }
    }
    let mut answer = next.call(request).await?.map_into_boxed_body();
    // Signed by us and yet no good: the session has ended.
    if let (Some(session), 401) = (session, answer.status().as_u16()) {
        app.ended.0.insert(session, ());
    }
    show(&mut answer);
    Ok(answer)
}

/// What every request of this kind counts as. What is limited more narrowly counts for that in its handler, which alone
/// is certain to be reached however the path was spelled. The sockets have limits of their own, and who asks whether we
/// live is always told.
fn class_of(method: &Method, path: &str) -> Option<RateLimitClass> {
    let path = path.trim_end_matches('/');
    if path.starts_with("/socket.io") || ["/livez", "/readyz"].contains(&path) {
        return None;
    }
    let named = ["register", "verify-otp", "login", "forgot-password", "reset-password"];
    let is_named = path.strip_prefix("/users/").is_some_and(|last| named.contains(&last));
    Some(match path {
        "/users/refresh" => RateLimitClass::Write,
        _ if is_named || method == Method::GET || method == Method::HEAD => RateLimitClass::Default,
        _ => RateLimitClass::Write,
    })
}

/// Whose token this is, by its signature. The claims of an access token are kept for the handler.
fn account(request: &ServiceRequest, tokens: &Tokens) -> Option<(UserId, SessionId)> {
    let token = bearer(request.headers())?;
    if let Ok(claims) = tokens.access(AccessToken(token)) {
        request.extensions_mut().insert(claims);
        return Some((claims.user, claims.session));
    }
    tokens.refresh(&RefreshToken(token.to_owned())).map(|claims| (claims.user, claims.session)).ok()
}

/// Returns the token of the `Authorization` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    bearer_token(headers.get(header::AUTHORIZATION)?.as_bytes())
}

/// Counts one doing of a subject, and refuses it beyond the limit.
pub(crate) async fn take(
    app: &App,
    request: &HttpRequest,
    class: RateLimitClass,
    subject: Subject<'_>,
) -> Result<(), ApiError> {
    let Some(verdict) = app.limits.take(class, subject).await else { return Ok(()) };
    request.extensions_mut().insert(Shown(verdict));
    if verdict.state.is_allowed { Ok(()) } else { Err(ApiError::rate_limited(verdict.state.retry_after)) }
}

/// Counts one doing of somebody who names an account without having shown that it is theirs: for the name and their
/// address together, and then for the address.
pub(crate) async fn take_named(
    app: &App,
    request: &HttpRequest,
    class: RateLimitClass,
    name: Option<&str>,
) -> Result<(), ApiError> {
    let Some(address) = address_of(request) else { return Ok(()) };
    if let Some(name) = name {
        take(app, request, class, Subject::Named(address, name)).await?;
    }
    let narrow = request.extensions().get::<Shown>().copied();
    take(app, request, class, Subject::Address(address)).await?;
    // What is left for the name is less than what is left for the address.
    if let (Some(_), Some(narrow)) = (name, narrow) {
        request.extensions_mut().insert(narrow);
    }
    Ok(())
}

/// Whole seconds, and at least one.
pub(crate) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Tells the client what it may do (draft-ietf-httpapi-ratelimit-headers): the policy, what remains of it, and after
/// how many seconds all of it is free again.
fn show(answer: &mut ServiceResponse<BoxBody>) {
    let Some(Shown(verdict)) = answer.request().extensions().get::<Shown>().copied() else { return };
    let Verdict { class, limit, state } = verdict;
    let used = limit.quota.saturating_sub(state.remaining);
    let (reset, window) = (seconds(limit.interval() * used), limit.window.as_secs());
    let (quota, remaining) = (limit.quota.into(), state.remaining.into());
    for (header, parameters) in
        [(POLICY, [(";q=", quota), (";w=", window)]), (STATE, [(";r=", remaining), (";t=", reset)])]
    {
        let mut text = String::with_capacity(48);
        text.extend(["\"", class.name(), "\""]);
        for (name, number) in parameters {
            text.extend([name, itoa::Buffer::new().format::<u64>(number)]);
        }
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
            answer.headers_mut().insert(header, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_of_one_class_or_has_no_limit() {
        for (method, path, class) in [
            (Method::GET, "/posts", Some(RateLimitClass::Default)),
            (Method::HEAD, "/posts/1/", Some(RateLimitClass::Default)),
            (Method::POST, "/posts/", Some(RateLimitClass::Write)),
            (Method::DELETE, "/users/me/sessions", Some(RateLimitClass::Write)),
            (Method::GET, "/users/refresh", Some(RateLimitClass::Write)),
            (Method::POST, "/users/change-password/", Some(RateLimitClass::Write)),
            (Method::POST, "/users/login/", Some(RateLimitClass::Default)),
            (Method::GET, "/readyz", None),
            (Method::POST, "/socket.io/", None),
            (Method::PATCH, "/no/such/path", Some(RateLimitClass::Write)),
        ] {
            assert_eq!(class_of(&method, path), class, "{method} {path}");
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(3)), 3);
        assert_eq!(seconds(Duration::from_millis(3001)), 4);
    }
}
