//! The bearer token of a request.

use actix_web::http::header::{self, HeaderMap};
use api_types::bearer_token;

/// Returns the token of the `Authorization` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    bearer_token(headers.get(header::AUTHORIZATION)?.as_bytes())
}
