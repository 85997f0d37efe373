//! Normalizes the request line: ignores trailing and doubled slashes, and treats `HEAD` as `GET`.

use actix_router::Url;
use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, Uri},
    middleware::Next,
};

/// Routes `HEAD` as `GET` (the server omits the body), except where a `GET` consumes a token.
pub(crate) async fn normalize_path(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(uri) = without_extra_slashes(request.uri()) {
        request.match_info_mut().set(Url::new(uri.clone()));
        request.head_mut().uri = uri;
    }
    if request.method() == Method::HEAD && request.path() != "/users/refresh" {
        request.head_mut().method = Method::GET;
    }
    next.call(request).await.map(ServiceResponse::map_into_boxed_body)
}

/// Returns `None` if the path has no extra slashes.
fn without_extra_slashes(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path.len() < 2 || (!path.ends_with('/') && !path.contains("//")) {
        return None;
    }
    let mut normalized = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        normalized.extend(["/", segment]);
    }
    if normalized.is_empty() {
        normalized.push('/');
    }
    if let Some(query) = uri.query() {
        normalized.extend(["?", query]);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(normalized.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_slashes_are_removed_from_the_path_only() {
        let normalized = |uri: &str| without_extra_slashes(&uri.parse().unwrap()).map(|uri| uri.to_string());
        for (uri, expected) in [
            ("/posts/", "/posts"),
            ("/posts/?page=2&q=//x/", "/posts?page=2&q=//x/"),
            ("//posts///7//like//", "/posts/7/like"),
            ("//", "/"),
            ("http://localhost/posts/", "http://localhost/posts"),
        ] {
            assert_eq!(normalized(uri).as_deref(), Some(expected), "{uri}");
        }
        for unchanged in ["/", "*", "/posts", "/posts?q=//", "/posts/7/like?a=/"] {
            assert_eq!(normalized(unchanged), None, "{unchanged}");
        }
    }
}
