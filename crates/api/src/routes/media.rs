//! Files of posts that are stored on this server.

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, HeaderName, HeaderValue},
    web::{self, Data, Path},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use domain::{
    Error,
    media::{Media, MediaKey, MediaKind},
};
use subtle::ConstantTimeEq as _;
use utoipa::IntoParams;

use crate::{
    error::Result,
    parse::parse_int,
    request::{Checked, OptionalUser, Query, base_url, request_fields},
    state::AppState,
};

/// Signed URLs change once per period, so that browsers can cache them, and are valid for one to two periods.
const SIGNATURE_PERIOD_SECONDS: i64 = 3600;

/// Caches ask again after ten minutes, by the `ETag`: the post may have become private or have been deleted.
const PUBLIC_CACHING: &str = "public, max-age=600, must-revalidate";
const PRIVATE_CACHING: &str = "private, max-age=3600";

/// Nothing in a file may run. A browser that opens it makes a page of its own around it, which shows it by an element.
const POLICY: &str = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'";

/// Returns the URL that loads a file without a token.
pub(crate) fn media_url(state: &AppState, request: &HttpRequest, media: &Media, is_private: bool) -> String {
    let key = &media.key.0;
    if !is_private {
        return media.url.clone().unwrap_or_else(|| format!("{}/media/{key}", base_url(state, request)));
    }
    let expires_at = expiry(state.clock.now());
    state.services.posts.store.signed_url(media, expires_at).unwrap_or_else(|| {
        let expires = expires_at.timestamp();
        let signature = URL_SAFE_NO_PAD.encode(signature(state, key, expires));
        format!("{}/media/{key}?expires={expires}&signature={signature}", base_url(state, request))
    })
}

/// Returns the end of the period after the current one.
fn expiry(now: DateTime<Utc>) -> DateTime<Utc> {
    let period = now.timestamp() / SIGNATURE_PERIOD_SECONDS;
    DateTime::from_timestamp((period + 2) * SIGNATURE_PERIOD_SECONDS, 0).unwrap_or(now)
}

fn signature(state: &AppState, key: &str, expires: i64) -> [u8; 32] {
    state.secrets.hash("media", &[key.as_bytes(), &expires.to_be_bytes()])
}

request_fields! {
    /// The signature of a private file's URL.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    pub(crate) struct MediaSignature {
        /// When the URL expires, as in `media_url`.
        #[param(value_type = Option<i64>)]
        expires: Option<String>,
        /// Signature of the URL, as in `media_url`.
        signature: Option<String>,
    }
}

impl MediaSignature {
    /// Returns whether this server signed the URL, and it has not expired.
    fn is_valid(&self, state: &AppState, key: &str) -> bool {
        let expires = self.expires.as_deref().and_then(parse_int).unwrap_or(0);
        let received = self.signature.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let is_ours = received.is_some_and(|received| received.ct_eq(&signature(state, key, expires)).into());
        is_ours && expires > state.clock.now().timestamp()
    }
}

/// Returns the file of a post.
///
/// A private file requires its owner's token or the signed URL in `media_url`.
#[utoipa::path(
    operation_id = "getMedia",
    tag = "media",
    security((), ("access" = [])),
    params(("key" = String, Path, description = "Name of the file, as in `media_url`"), MediaSignature),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "A range of the file", content_type = "application/octet-stream"),
        (status = 304, description = "The file has not changed"),
        (status = 416, description = "The file does not have this range")
    )
)]
#[get("/media/{key}")]
pub(crate) async fn load(
    Checked((viewer, signature)): Checked<(OptionalUser, Query<MediaSignature>)>,
    key: Path<String>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse> {
    let key = MediaKey(key.into_inner());
    let kind = MediaKind::from_key(&key).ok_or(Error::MEDIA_NOT_FOUND)?;
    let path = state.disk.as_ref().and_then(|disk| disk.path(&key)).ok_or(Error::MEDIA_NOT_FOUND)?;
    let has_signature = signature.is_valid(&state, &key.0);
    let access = state
        .run(|services| async move { services.posts.authorize_media(key, viewer, has_signature).await })
        .await?;
    let file = web::block(move || NamedFile::open(path)).await.map_err(Error::unavailable)?;
    let file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::MEDIA_NOT_FOUND,
        _ => Error::internal(error),
    })?;
    let mime = kind.mime().parse().map_err(|_| Error::internal("a media type cannot be parsed"))?;
    let mut response = file.set_content_type(mime).into_response(&request);
    let headers = response.headers_mut();
    let caching = if access.is_private { PRIVATE_CACHING } else { PUBLIC_CACHING };
    for (name, value) in [
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_url_is_valid_for_one_to_two_periods_and_stays_the_same_within_one() {
        let expiry = |now| expiry(DateTime::from_timestamp(now, 0).unwrap()).timestamp();
        assert_eq!([expiry(7200), expiry(10_799), expiry(10_800)], [14_400, 14_400, 18_000]);
    }
}
