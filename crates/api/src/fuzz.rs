//! Entry points for the fuzzer: each passes arbitrary bytes to a parser of untrusted input and asserts its properties.
//!
//! The directory `fuzz` of the repository has a target for each; the tests run each on its seeds.

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
    media::{Limits, MediaInspector},
    tokens::{AccessToken, RefreshToken, TokenService},
};
use chrono::TimeDelta;
use domain::{
    Error,
    comments::CommentContent,
    media::{MediaKey, MediaKind},
    notifications::NotificationId,
    page::{PageNumber, PageSize},
    passwords::NewPassword,
    posts::PostContent,
    users::{Email, UserId, Username},
};
use futures_util::{StreamExt as _, stream};
use tokio::runtime::{Builder, Runtime};
use url::form_urlencoded;

use crate::{
    adapters::upload_dir,
    error::{ApiError, Result},
    middleware::request_id::TraceId,
    pagination::{Cursors, List},
    parse::{parse_bool, parse_int},
    request::client_addr::ClientInfo,
    request::{
        BodyLimits, BodyPace, Budget, Fields, Upload, UploadSlots, UserFilter, bearer, body, request_fields,
    },
};

/// Parses arbitrary bytes, and panics if a property does not hold.
pub type Parser = fn(&[u8]);

/// All entry points by name. Those of media and of socket handshakes are in the crates `media-sanitizer`
/// and `infra-socketio`.
pub const TARGETS: [(&str, Parser); 6] = [
    ("body", body),
    ("query", query),
    ("token", token),
    ("cursor", cursor),
    ("values", values),
    ("headers", headers),
];

request_fields! {
    struct AllTypes {
        username: Username,
        email: Email,
        password: NewPassword,
        otp: String,
        refresh_token: Option<String>,
        content: Option<PostContent>,
        media: Option<Upload>,
        is_private: Option<bool>,
    }
}

request_fields! {
    struct Parameters {
        page: Option<PageNumber>,
        page_size: Option<PageSize>,
        since: Option<NotificationId>,
        user_id: Option<UserFilter>,
        unread_only: Option<bool>,
    }
}

const KEY: &[u8] = b"a key that only the fuzzer uses";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime can be built"));

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// A body is read or refused with a client error, in whatever chunks it arrives. The first byte selects the format, the
/// second the size of the chunks.
///
/// # Panics
/// If it is refused otherwise.
pub fn body(data: &[u8]) {
    let [format, chunk_size, body @ ..] = data else { return };
    let content_type =
        ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
    let content_type = content_type[usize::from(*format) % content_type.len()];
    let request = TestRequest::post().insert_header((header::CONTENT_TYPE, content_type)).to_http_request();
    let chunks = body.chunks(usize::from(*chunk_size).max(1)).map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
    let chunks: Vec<Result<Bytes, PayloadError>> = chunks.collect();
    let payload = Payload::Stream { payload: stream::iter(chunks).boxed_local() };
    if let Err(error) = RUNTIME.block_on(read(&request, payload)) {
        assert_client_error(&error);
    }
}

async fn read(request: &HttpRequest, payload: Payload) -> Result<()> {
    let folder = tempfile::tempdir().expect("a directory can be created");
    let limits = BodyLimits {
        upload_dir: upload_dir(folder.path(), 0).expect("a directory can be created"),
        upload_slots: UploadSlots::new(1, 1),
        upload_budget: Budget::new(usize::MAX, usize::MAX),
        inspector: MediaInspector::new(Limits::default(), 1),
        pace: BodyPace {
            idle_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            min_rate: 1,
        },
        memory: Budget::new(usize::MAX, usize::MAX),
    };
    let fields = body::read_form::<AllTypes>(request, payload, &limits, Some(UserId(1))).await?;
    if let Some(file) = fields.file() {
        let length = fs::metadata(&file.path).map(|metadata| metadata.len()).ok();
        assert_eq!(length, Some(file.size), "the file has the reported size");
    }
    let all: AllTypes = fields.read()?;
    drop((all.username, all.email, all.password, all.otp, all.refresh_token));
    drop((all.content, all.media, all.is_private));
    Ok(())
}

fn assert_client_error(error: &ApiError) {
    assert!((400..500).contains(&error.status()), "{}: {error:?}", error.status());
    assert!(!error.to_string().is_empty());
}

/// A query is read or refused as a client error, and blank parameters are absent.
///
/// # Panics
/// If it is refused otherwise, a value is out of its bounds, or a blank parameter is not absent.
pub fn query(data: &[u8]) {
    let query = text(data);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_both = parse_int(&value).is_some() && parse_bool(&value).is_some();
        assert!(!is_both || value.trim().len() == 1, "only 0 and 1 are a number and a boolean");
        let read = Fields::from_query(&query).take(&name);
        assert!(read.is_none_or(|read| read.as_str().is_some_and(|read| !read.trim().is_empty())));
    }
    match Fields::from_query(&query).read::<Parameters>() {
        Ok(Parameters { page, page_size, since, user_id, unread_only }) => {
            assert!(user_id.is_none_or(|user| !matches!(user, UserFilter::Id(UserId(0)))));
            assert!(page.is_none_or(|number| number.get() >= 1));
            assert!(page_size.is_none_or(|size| (1..=100).contains(&size.get())));
            assert!(since.is_none_or(|since| since.0 >= 0));
            assert!(unread_only.is_none() || Fields::from_query(&query).contains("unread_only"));
        }
        Err(error) => assert_client_error(&error),
    }
}

/// Unsigned text is never a valid token.
///
/// # Panics
/// If it is.
pub fn token(data: &[u8]) {
    let tokens = TokenService::new(KEY, TimeDelta::minutes(30), TimeDelta::days(7));
    let text = text(data);
    assert_eq!(tokens.verify_access(AccessToken(&text)), Err(Error::INVALID_TOKEN));
    assert_eq!(tokens.verify_refresh(&RefreshToken(text)), Err(Error::INVALID_TOKEN));
}

/// Unsigned text is never a valid cursor.
///
/// # Panics
/// If it is.
pub fn cursor(data: &[u8]) {
    let cursors = Cursors::new(KeyedHash::new(KEY));
    assert_eq!(cursors.decode(&List("posts".to_owned()), &text(data)), Err(Error::INVALID_CURSOR));
}

/// A parsed value is within its limits, and parses again to itself.
///
/// # Panics
/// If it is not, or does not.
pub fn values(data: &[u8]) {
    let text = text(data);
    if let Ok(name) = Username::parse(&text) {
        assert_eq!(name.as_str(), text);
        assert!((3..=50).contains(&text.len()));
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

/// Headers are parsed whatever their content, and an untrusted peer cannot forward an address.
///
/// # Panics
/// If it can.
pub fn headers(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let proxies = ["127.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
    for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "authorization"] {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), value.clone());
        let untrusted = ClientInfo::of(Some([192, 0, 2, 1].into()), &headers, &proxies);
        assert_eq!(untrusted.address.to_string(), "192.0.2.1");
        ClientInfo::of(Some([127, 0, 0, 1].into()), &headers, &proxies);
        assert!(bearer(&headers).is_none_or(|token| token == token.trim()));
    }
    if let Ok(text) = value.to_str() {
        assert!(TraceId::parse(text).is_none() || text.is_ascii());
    }
}
