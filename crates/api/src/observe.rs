//! What every request goes through: its id, its line in the log, and the shape of its error answers.

use std::{any::Any, panic::AssertUnwindSafe, time::Instant};

use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use application::random;
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use crate::error::ApiError;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_ID: usize = 128;

/// The id of a request.
#[derive(Clone)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The one that the request brought, if it is sane, else a new one.
    fn of(request: &ServiceRequest) -> Self {
        let brought = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let is_sane = |id: &&str| {
            (1..=LONGEST_ID).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
        };
        match brought.filter(is_sane) {
            Some(id) => Self(id.to_owned()),
            None => Self(random::token::<12>().unwrap_or_default()),
        }
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
    // The path alone: queries may hold tokens.
    let span = tracing::info_span!("request", id = id.0, method = %request.method(), path = request.path());
    let answered = AssertUnwindSafe(next.call(request).instrument(span.clone())).catch_unwind().await;
    let result = match answered {
        Ok(result) => result,
        Err(panic) => Err(panicked(panic.as_ref()).into()),
    };
    span.in_scope(|| match result {
        Ok(mut response) => {
            let headers = response.headers_mut();
            if let Ok(id) = HeaderValue::from_str(&id.0) {
                headers.insert(REQUEST_ID, id);
            }
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            let status = response.status().as_u16();
            let elapsed_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::info!(status, elapsed_us, "answered");
            Ok(response.map_into_boxed_body())
        }
        Err(error) => {
            log_fault(&error);
            Err(error)
        }
    })
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

/// Below CORS: gives every error answer, whoever made it, the shape of a problem.
pub(crate) async fn explain(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?.map_into_boxed_body();
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

/// Answers HEAD as GET is answered (the server leaves the body out), save where a GET uses something up.
pub(crate) async fn head_as_get(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if request.method() == Method::HEAD && request.path() != "/users/refresh" {
        request.head_mut().method = Method::GET;
    }
    next.call(request).await.map(ServiceResponse::map_into_boxed_body)
}
