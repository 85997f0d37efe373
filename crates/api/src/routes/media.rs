//! The files of posts that lie on this server.

use actix_files::NamedFile;
use actix_web::{
    HttpResponse, get,
    http::header::{self, HeaderName, HeaderValue},
    web,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Error,
    media::{Media, MediaKey, MediaKind},
};
use subtle::ConstantTimeEq as _;

use crate::{error::Result, parse::parse_int, request::context::RequestContext};

/// Addresses of private files are valid for one to two hours, and stay the same for one, so that they can be cached.
const HOUR: i64 = 3600;

/// The address that loads a file without a token.
pub(crate) fn media_url(context: &RequestContext, media: &Media, is_private: bool) -> String {
    let key = &media.key.0;
    if !is_private {
        return media.url.clone().unwrap_or_else(|| format!("{}/media/{key}", context.base_url()));
    }
    let expires = (Utc::now().timestamp() / HOUR + 2) * HOUR;
    let expires_at = DateTime::from_timestamp(expires, 0).unwrap_or_else(|| Utc::now() + TimeDelta::hours(1));
    let elsewhere = context.state.services.posts.store.signed_url(media, expires_at);
    elsewhere.unwrap_or_else(|| {
        let signature = URL_SAFE_NO_PAD.encode(signature(context, key, expires));
        format!("{}/media/{key}?expires={expires}&signature={signature}", context.base_url())
    })
}

fn signature(context: &RequestContext, key: &str, expires: i64) -> [u8; 32] {
    context.state.secrets.hash("media", &[key.as_bytes(), &expires.to_be_bytes()])
}

/// Whether the address is one that we signed and that has not expired.
fn has_pass(context: &RequestContext, key: &str) -> bool {
    let expires = context.parameter("expires").and_then(parse_int).unwrap_or(0);
    let brought = context.parameter("signature").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let is_ours = brought.is_some_and(|brought| brought.ct_eq(&signature(context, key, expires)).into());
    is_ours && expires > Utc::now().timestamp()
}

/// The file of a post. A private one needs its owner's bearer or an address that `media_url` gave.
#[utoipa::path(
    tag = "media",
    security((), ("access" = [])),
    params(
        ("key" = String, Path, description = "The name of the file, as `media_url` has it"),
        ("expires" = Option<i64>, Query, description = "As `media_url` has it"),
        ("signature" = Option<String>, Query, description = "As `media_url` has it")
    ),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "A range of it", content_type = "application/octet-stream"),
        (status = 304, description = "It has not changed"),
        (status = 416, description = "It has no such range")
    )
)]
#[get("/media/{key}")]
pub(crate) async fn load(context: RequestContext) -> Result<HttpResponse> {
    let key = MediaKey(context.segment("key").to_owned());
    let kind = MediaKind::from_key(&key).ok_or(Error::MEDIA_NOT_FOUND)?;
    let path = context.state.disk.as_ref().and_then(|disk| disk.path(&key)).ok_or(Error::MEDIA_NOT_FOUND)?;
    let (viewer, has_pass) = (context.viewer().await?, has_pass(&context, &key.0));
    let access = context
        .run(|services| async move { services.posts.authorize_media(key, viewer, has_pass).await })
        .await?;
    let file = web::block(move || NamedFile::open(path)).await.map_err(Error::unavailable)?;
    let file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::MEDIA_NOT_FOUND,
        _ => Error::internal(error),
    })?;
    let mime = kind.mime().parse().map_err(|_| Error::internal("a media type cannot be parsed"))?;
    let mut response = file.set_content_type(mime).into_response(context.request());
    let headers = response.headers_mut();
    // A key is never given to another content.
    let caching =
        if access.is_private { "private, max-age=3600" } else { "public, max-age=31536000, immutable" };
    for (name, value) in [
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
