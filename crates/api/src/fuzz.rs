//! Every parser of what strangers send, as the fuzzer calls it: with any bytes, and with what must hold for all of them.
//!
//! The folder `fuzz` at the top has a target for each, and the tests give each its seeds.

use std::{fs, sync::LazyLock, time::Duration};

use actix_web::{
    HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    test::TestRequest,
    web::Bytes,
};
use application::{
    keyed_hash::KeyedHash,
    media::{Inspector, Limits},
    tokens::{AccessToken, RefreshToken, TokenService},
};
use chrono::TimeDelta;
use domain::{
    Error,
    accounts::NewPassword,
    comments::CommentContent,
    media::{MediaKey, MediaKind},
    posts::PostContent,
    users::{Email, UserId, Username},
};
use futures_util::{StreamExt as _, stream};
use tokio::runtime::{Builder, Runtime};

use crate::{
    error::{ApiError, Result},
    middleware::request_id::TraceId,
    pagination::{Cursors, List},
    parse::{parse_bool, parse_int},
    request::bearer::bearer,
    request::body,
    request::body_reader::BodyReader,
    request::client_addr::ClientInfo,
    request::fields::Fields,
    request::query::Query,
    request::upload_slots::UploadSlots,
    routes::posts,
};

/// Reads any bytes, and panics if what must hold for all of them does not.
pub type Parser = fn(&[u8]);

/// Each parser by its name. That of the handshake of a socket is in the crate that serves it.
pub const TARGETS: [(&str, Parser); 7] = [
    ("media", media),
    ("body", body),
    ("query", query),
    ("token", token),
    ("cursor", cursor),
    ("values", values),
    ("headers", headers),
];

const KEY: &[u8] = b"a key that nothing but the fuzzer uses";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime can be made"));

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// What is cleaned is clean, and nothing grows.
///
/// # Panics
/// If that does not hold.
pub fn media(data: &[u8]) {
    let Some((kind, clean)) = inspected(data) else { return };
    assert!(clean.len() <= data.len() + 64, "it grows from {} to {} bytes", data.len(), clean.len());
    assert!(inspected(&clean) == Some((kind, clean)), "what is clean is cleaned once more");
}

fn inspected(data: &[u8]) -> Option<(MediaKind, Vec<u8>)> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("upload");
    fs::write(&path, data).expect("a file can be written");
    let found = RUNTIME.block_on(Inspector::new(Limits::default(), 1).inspect(&path));
    match found {
        Ok(file) => Some((file.kind, fs::read(&path).expect("the file is there"))),
        Err(Error::Invalid(_) | Error::TooLarge(_) | Error::Unsupported(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// A body is read or refused, however it is cut. The first byte says of which kind it is, the second how it is cut.
///
/// # Panics
/// If it is refused as something other than a mistake of the client.
pub fn body(data: &[u8]) {
    let [kind, size, body @ ..] = data else { return };
    let content_type =
        ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
    let content_type = content_type[usize::from(*kind) % content_type.len()];
    let request = TestRequest::post().insert_header((header::CONTENT_TYPE, content_type)).to_http_request();
    let chunks = body.chunks(usize::from(*size).max(1)).map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
    let chunks: Vec<Result<Bytes, PayloadError>> = chunks.collect();
    let payload = Payload::Stream { payload: stream::iter(chunks).boxed_local() };
    if let Err(error) = RUNTIME.block_on(read(&request, payload)) {
        is_the_clients(&error);
    }
}

async fn read(request: &HttpRequest, payload: Payload) -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let reader = BodyReader {
        upload_dir: folder.path().to_owned(),
        upload_slots: UploadSlots::new(1, 1),
        inspector: Inspector::new(Limits::default(), 1),
        idle_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
    };
    let (fields, file) = body::form(request, payload, &reader, Some(UserId(1))).await?;
    if let Some(file) = &file {
        let length = fs::metadata(&file.path).map(|metadata| metadata.len()).ok();
        assert_eq!(length, Some(file.size), "the file is as long as it is said to be");
    }
    fields.read(|fields| {
        all(fields, file.is_some());
        Some(())
    })
}

fn all(fields: &mut Fields, has_file: bool) {
    posts::draft(fields, has_file);
    fields.username();
    fields.email();
    fields.new_password("password");
    fields.text("otp");
    fields.optional_text("refresh_token");
}

fn is_the_clients(error: &ApiError) {
    assert!((400..500).contains(&error.status()), "{}: {error:?}", error.status());
    assert!(!error.to_string().is_empty());
}

/// A query is read or refused.
///
/// # Panics
/// If it is refused as something other than a mistake of the client, or what is read is out of its bounds.
pub fn query(data: &[u8]) {
    let query = Query::read(&text(data));
    for (name, value) in query.pairs() {
        assert!(parse_int(value).is_none() || parse_bool(value).is_none() || value.trim().len() == 1);
        assert!(query.parameter(name).is_none_or(|value| !value.trim().is_empty()));
    }
    match query.page() {
        Ok((number, size)) => {
            assert!(number.is_none_or(|number| number.get() >= 1));
            assert!(size.is_none_or(|size| (1..=100).contains(&size.get())));
        }
        Err(error) => is_the_clients(&error),
    }
    match query.since() {
        Ok(since) => assert!(since.is_none_or(|since| since.0 >= 0)),
        Err(error) => is_the_clients(&error),
    }
    if let Err(error) = query.flag("unread_only") {
        is_the_clients(&error);
    }
}

/// Nothing that we have not signed is a token of ours.
///
/// # Panics
/// If it is.
pub fn token(data: &[u8]) {
    let tokens = TokenService::new(KEY, TimeDelta::minutes(30), TimeDelta::days(7));
    let text = text(data);
    assert_eq!(tokens.verify_access(AccessToken(&text)), Err(Error::INVALID_TOKEN));
    assert_eq!(tokens.verify_refresh(&RefreshToken(text)), Err(Error::INVALID_TOKEN));
}

/// Nothing that we have not made is a cursor of ours.
///
/// # Panics
/// If it is.
pub fn cursor(data: &[u8]) {
    let cursors = Cursors::new(KeyedHash::new(KEY));
    assert_eq!(cursors.read(&List("posts".to_owned()), &text(data)), Err(Error::INVALID_CURSOR));
}

/// What passes as a value passes again, as it is.
///
/// # Panics
/// If it does not.
pub fn values(data: &[u8]) {
    let text = text(data);
    if let Ok(name) = Username::parse(&text) {
        assert_eq!(name.as_str(), text);
        assert!((3..=50).contains(&text.len()) && name.key().eq_ignore_ascii_case(&text));
    }
    if let Ok(email) = Email::parse(&text) {
        let address = email.as_str();
        assert!(address.len() <= 254 && address.contains('@') && !address.contains(['\r', '\n', '\0']));
        assert_eq!(Email::parse(address), Ok(email.clone()));
    }
    if let Ok(Some(content)) = PostContent::parse(&text) {
        assert!((1..=5000).contains(&content.as_str().chars().count()));
        assert_eq!(PostContent::parse(content.as_str()), Ok(Some(content.clone())));
    }
    if let Ok(content) = CommentContent::parse(&text) {
        assert!((1..=2000).contains(&content.as_str().chars().count()));
        assert_eq!(CommentContent::parse(content.as_str()), Ok(content.clone()));
    }
    if let Ok(password) = NewPassword::parse("password", &text) {
        assert!((8..=128).contains(&text.chars().count()) && password.expose() == text);
    }
    MediaKind::from_key(&MediaKey(text));
}

/// Headers that are read are read whatever is in them.
///
/// # Panics
/// If one is not.
pub fn headers(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let proxies = ["127.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
    for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "authorization"] {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), value.clone());
        let stranger = ClientInfo::of(Some([192, 0, 2, 1].into()), &headers, &proxies);
        assert_eq!(stranger.address.to_string(), "192.0.2.1", "a stranger speaks for themselves alone");
        ClientInfo::of(Some([127, 0, 0, 1].into()), &headers, &proxies);
        assert!(bearer(&headers).is_none_or(|token| token == token.trim()));
    }
    if let Ok(text) = value.to_str() {
        assert!(TraceId::parse(text).is_none() || text.is_ascii());
    }
}
