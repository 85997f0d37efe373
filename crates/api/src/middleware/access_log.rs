//! The outermost middleware: assigns the request id, writes the access log, records metrics, and sets the headers of
//! every response.

use std::time::Instant;

use actix_web::{
    Error, HttpMessage as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::StatusCode,
    middleware::Next,
    web::Data,
};
use tracing::Instrument as _;

use super::request_id::{RequestId, TraceId};
use crate::{
    state::AppState,
    telemetry::{ACCESS_LOG, may_log_repeated_line},
};

pub(crate) async fn access_log(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let trace = TraceId::of(request.headers());
    let span = tracing::info_span!("request", id = id.as_str());
    let uri = request.uri().clone();
    let (method, state) = (request.method().clone(), request.app_data::<Data<AppState>>().cloned());
    let result = next.call(request).instrument(span.clone()).await;
    let (status, route) = match &result {
        Ok(response) => (response.status(), response.request().match_pattern()),
        Err(error) => (error.as_response_error().status_code(), None),
    };
    let elapsed = started.elapsed();
    if let Some(metrics) = state.as_ref().and_then(|state| state.metrics.as_ref()) {
        metrics.record_response(&method, route.clone(), status.as_u16(), elapsed);
    }
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let is_repeated = status == StatusCode::TOO_MANY_REQUESTS
        || route.is_some_and(|route| ["/livez", "/readyz"].contains(&&*route));
    span.in_scope(|| {
        if is_repeated && !may_log_repeated_line() {
            return;
        }
        // The path only: a query may contain tokens.
        let (method, path, trace_id) = (method.as_str(), uri.path(), trace.as_str());
        tracing::info!(target: ACCESS_LOG, method, path, status = status.as_u16(), elapsed_us, trace_id, "responded");
    });
    let public_url = state.as_ref().and_then(|state| state.public_url.as_deref());
    let is_https = public_url.is_some_and(|url| url.starts_with("https://"));
    match result {
        Ok(mut response) => {
            id.set_headers(response.headers_mut(), is_https);
            Ok(response.map_into_boxed_body())
        }
        Err(mut error) => {
            error.add_response_mapper(move |mut response| {
                id.set_headers(response.headers_mut(), is_https);
                response
            });
            Err(error)
        }
    }
}
