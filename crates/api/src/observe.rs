//! What every request goes through: its id, its line in the log, and the shape of its error answers.

use std::{any::Any, panic::AssertUnwindSafe, time::Instant};

use actix_router::Url;
use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, Uri,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use crate::{app::App, error::ApiError, security, telemetry::REQUESTS};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const LONGEST_ID: usize = 128;

/// The id of a request.
#[derive(Clone)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// A new one. Nobody need be unable to guess it, so the system is not asked for each.
    pub(crate) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>()))
    }

    /// As the log and the answers have it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Sets what every answer has: this id, and what browsers may do with the answer.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, is_https: bool) {
        if let Ok(id) = HeaderValue::from_str(&self.0) {
            headers.insert(REQUEST_ID, id);
        }
        security::protect(headers, is_https);
    }

    /// The one that the request brought, if it is sane, else a new one.
    fn of(request: &ServiceRequest) -> Self {
        let brought = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let is_sane = |id: &&str| {
            (1..=LONGEST_ID).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
        };
        match brought.filter(is_sane) {
            Some(id) => Self(id.to_owned()),
            None => Self::random(),
        }
    }
}

/// The trace that a request belongs to, as 32 hexadecimal digits.
pub(crate) struct Trace(String);

impl Trace {
    /// The one that the request brought (`traceparent`, W3C Trace Context), else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let brought = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(Self::parse);
        brought.unwrap_or_else(|| {
            let (high, low) = rand::random::<(u64, u64)>();
            Self(format!("{high:016x}{low:016x}"))
        })
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, length| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_something = |part: &str| part.bytes().any(|digit| digit != b'0');
        // Later versions may have more parts.
        let is_whole = version != "ff" && (version != "00" || parts.next().is_none());
        let is_good = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
        (is_good && is_whole && is_something(trace) && is_something(parent)).then(|| Self(trace.to_owned()))
    }
}

/// Outermost: gives the request its id, logs how it was answered, and sets the headers of every answer.
pub(crate) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Instant::now();
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let trace = Trace::of(request.headers());
    let span = tracing::info_span!("request", id = id.0);
    // The path alone: queries may hold tokens.
    let uri = request.uri().clone();
    let (method, app) = (request.method().clone(), request.app_data::<Data<App>>().cloned());
    let result = next.call(request).instrument(span.clone()).await;
    let (status, route) = match &result {
        Ok(response) => (response.status(), response.request().match_pattern()),
        Err(error) => (error.as_response_error().status_code(), None),
    };
    let elapsed = begun.elapsed();
    if let Some(metrics) = app.as_ref().and_then(|app| app.metrics.as_ref()) {
        metrics.answered(&method, route, status.as_u16(), elapsed);
    }
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        let (method, path, trace_id) = (method.as_str(), uri.path(), trace.0.as_str());
        tracing::info!(target: REQUESTS, method, path, status = status.as_u16(), elapsed_us, trace_id, "answered");
    });
    let public_url = app.as_ref().and_then(|app| app.public_url.as_deref());
    let is_https = public_url.is_some_and(|url| url.starts_with("https://"));
    match result {
        Ok(mut response) => {
            id.mark(response.headers_mut(), is_https);
            Ok(response.map_into_boxed_body())
        }
        Err(mut error) => {
            error.add_response_mapper(move |mut response| {
                id.mark(response.headers_mut(), is_https);
                response
            });
            Err(error)
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> ApiError {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    domain::Error::internal(format!("panic: {}", message.unwrap_or_default())).into()
}

fn log_fault(error: &Error) {
    if let Some(fault) = error.as_error::<ApiError>().and_then(ApiError::fault) {
        let error = fault as &dyn std::error::Error;
        if matches!(fault, domain::Error::Internal(_)) {
            tracing::error!(error, "a request failed");
        } else {
            tracing::warn!(error, "a request could not be served");
        }
    }
}

/// Below CORS: gives every error answer, whoever made it, the shape of a problem. A panic becomes one too.
pub(crate) async fn explain(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = request.extensions().get::<RequestId>().cloned();
    let response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(response) => response?.map_into_boxed_body(),
        Err(panic) => {
            // The request went with it, so this cannot be a response yet.
            let mut error = Error::from(panicked(panic.as_ref()));
            log_fault(&error);
            error.add_response_mapper(move |_| {
                ApiError::of_status(500).render(id.as_ref().map_or("", RequestId::as_str))
            });
            return Err(error);
        }
    };
    // What the sockets' engine answers, its clients know how to read.
    if response.status().as_u16() < 400 || response.request().path().starts_with("/socket.io") {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let rendered = problem(&request, &response);
    Ok(ServiceResponse::new(request, rendered))
}

fn problem(request: &HttpRequest, response: &HttpResponse) -> HttpResponse {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    if let Some(error) = response.error() {
        log_fault(error);
        if let Some(error) = error.as_error::<ApiError>() {
            return error.render(&id);
        }
    }
    let mut rendered = ApiError::of_status(response.status().as_u16()).render(&id);
    if let Some(range) = response.headers().get(header::CONTENT_RANGE) {
        rendered.headers_mut().insert(header::CONTENT_RANGE, range.clone());
    }
    rendered
}

/// Takes a request for what its sender meant. HEAD is answered as GET is (the server leaves the body out), save where a
/// GET uses something up; a slash at the end of a path, or a doubled one, makes no difference.
pub(crate) async fn meant(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(uri) = trimmed(request.uri()) {
        request.match_info_mut().set(Url::new(uri.clone()));
        request.head_mut().uri = uri;
    }
    if request.method() == Method::HEAD && request.path() != "/users/refresh" {
        request.head_mut().method = Method::GET;
    }
    next.call(request).await.map(ServiceResponse::map_into_boxed_body)
}

/// With no slash at the end of the path, and no doubled one in it; `None` if it has none.
fn trimmed(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path.len() < 2 || (!path.ends_with('/') && !path.contains("//")) {
        return None;
    }
    let mut trimmed = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        trimmed.extend(["/", segment]);
    }
    if trimmed.is_empty() {
        trimmed.push('/');
    }
    if let Some(query) = uri.query() {
        trimmed.extend(["?", query]);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(trimmed.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use actix_cors::Cors;
    use actix_web::{
        App,
        middleware::from_fn,
        test as actix_test,
        web::{self, Bytes},
    };

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[actix_web::test]
    async fn the_panic_of_a_handler_is_a_problem_like_any_other_and_tells_nothing() {
        let handler = async |_: Bytes| -> HttpResponse { panic!("the password is hunter2") };
        let app = App::new()
            .route("/", web::to(handler))
            .wrap(from_fn(explain))
            .wrap(Cors::default().allowed_origin("http://localhost:3000").supports_credentials())
            .wrap(from_fn(observe));
        let app = actix_test::init_service(app).await;
        let request =
            actix_test::TestRequest::get().uri("/").insert_header(("origin", "http://localhost:3000"));
        let request = request.insert_header(("x-request-id", "abc")).to_request();
        let answer = actix_test::try_call_service(&app, request).await.err().unwrap().error_response();
        assert_eq!(answer.status(), 500);
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("content-type"), Some("application/problem+json"));
        assert_eq!(header("x-request-id"), Some("abc"));
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        assert_eq!(header("access-control-allow-origin"), Some("http://localhost:3000"));
        let body = answer.into_body().try_into_bytes().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["code"], &body["request_id"]), (&"internal_error".into(), &"abc".into()));
        assert!(!body.to_string().contains("hunter2"));
    }

    #[test]
    fn a_slash_too_many_makes_no_difference() {
        let meant = |uri: &str| trimmed(&uri.parse().unwrap()).map(|uri| uri.to_string());
        for (uri, plain) in [
            ("/posts/", "/posts"),
            ("/posts/?page=2&q=//x/", "/posts?page=2&q=//x/"),
            ("//posts///7//like//", "/posts/7/like"),
            ("//", "/"),
            ("http://localhost/posts/", "http://localhost/posts"),
        ] {
            assert_eq!(meant(uri).as_deref(), Some(plain), "{uri}");
        }
        for plain in ["/", "*", "/posts", "/posts?q=//", "/posts/7/like?a=/"] {
            assert_eq!(meant(plain), None, "{plain}");
        }
    }

    #[test]
    fn a_trace_goes_on_if_its_header_is_right_and_begins_anew_if_not() {
        let parsed = |text: &str| Trace::parse(text).map(|trace| trace.0);
        let good = format!("00-{TRACE}-b7ad6b7169203331-01");
        assert_eq!(parsed(&good).as_deref(), Some(TRACE));
        assert_eq!(parsed(&format!("01-{TRACE}-b7ad6b7169203331-01-more")).as_deref(), Some(TRACE));
        for bad in [
            "",
            "00",
            &format!("{good}-more"),
            &format!("ff-{TRACE}-b7ad6b7169203331-01"),
            &format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            &format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            &format!("00-{TRACE}-0000000000000000-01"),
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
        let made = Trace::of(&HeaderMap::new()).0;
        assert!(parsed(&format!("00-{made}-b7ad6b7169203331-01")).is_some(), "{made}");
    }
}
