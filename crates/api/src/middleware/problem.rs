//! Turns every error response, whichever layer made it, into a problem object (RFC 9457). A panic becomes one too.

use std::{any::Any, panic::AssertUnwindSafe};

use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
};
use futures_util::FutureExt as _;

use super::request_id::RequestId;
use crate::error::ApiError;

/// Runs inside CORS, so that error responses carry its headers.
pub(crate) async fn problem_middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = request.extensions().get::<RequestId>().cloned();
    let response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(response) => response?.map_into_boxed_body(),
        Err(panic) => {
            // The panic dropped the request, without which there is no `ServiceResponse`.
            let mut error = Error::from(panic_error(panic.as_ref()));
            log_internal_cause(&error);
            error.add_response_mapper(move |_| {
                ApiError::of_status(500).to_response(id.as_ref().map_or("", RequestId::as_str))
            });
            return Err(error);
        }
    };
    // Engine.IO clients expect the errors of its protocol.
    if response.status().as_u16() < 400 || response.request().path().starts_with("/socket.io") {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let problem = to_problem(&request, &response);
    Ok(ServiceResponse::new(request, problem))
}

fn panic_error(panic: &(dyn Any + Send)) -> ApiError {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    domain::Error::internal(format!("panic: {}", message.unwrap_or_default())).into()
}

fn log_internal_cause(error: &Error) {
    if let Some(cause) = error.as_error::<ApiError>().and_then(ApiError::internal_cause) {
        let error = cause as &dyn std::error::Error;
        if matches!(cause, domain::Error::Internal(_)) {
            tracing::error!(error, "request failed");
        } else {
            tracing::warn!(error, "a service that the request needs is unavailable");
        }
    }
}

fn to_problem(request: &HttpRequest, response: &HttpResponse) -> HttpResponse {
    let extensions = request.extensions();
    let id = extensions.get::<RequestId>().map_or("", RequestId::as_str);
    if let Some(error) = response.error() {
        log_internal_cause(error);
        if let Some(error) = error.as_error::<ApiError>() {
            return error.to_response(id);
        }
    }
    let mut problem = ApiError::of_status(response.status().as_u16()).to_response(id);
    if let Some(range) = response.headers().get(header::CONTENT_RANGE) {
        problem.headers_mut().insert(header::CONTENT_RANGE, range.clone());
    }
    problem
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
    use crate::middleware::access_log::access_log;

    #[actix_web::test]
    async fn panic_in_a_handler_becomes_a_problem_that_reveals_nothing() {
        let handler = async |_: Bytes| -> HttpResponse { panic!("the password is hunter2") };
        let app = App::new()
            .route("/", web::to(handler))
            .wrap(from_fn(problem_middleware))
            .wrap(Cors::default().allowed_origin("http://localhost:3000").supports_credentials())
            .wrap(from_fn(access_log));
        let app = actix_test::init_service(app).await;
        let request =
            actix_test::TestRequest::get().uri("/").insert_header(("origin", "http://localhost:3000"));
        let request = request.insert_header(("x-request-id", "abc")).to_request();
        let response = actix_test::try_call_service(&app, request).await.err().unwrap().error_response();
        assert_eq!(response.status(), 500);
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("content-type"), Some("application/problem+json"));
        assert_eq!(header("x-request-id"), Some("abc"));
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        assert_eq!(header("access-control-allow-origin"), Some("http://localhost:3000"));
        let body = response.into_body().try_into_bytes().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["code"], &body["request_id"]), (&"internal_error".into(), &"abc".into()));
        assert!(!body.to_string().contains("hunter2"));
    }
}
