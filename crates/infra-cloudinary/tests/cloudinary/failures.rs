//! Failures of Cloudinary.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    Error, Result,
    media::{Media, MediaKind, MediaStore},
};
use infra_cloudinary::{Cloudinary, CloudinaryConfig};
use test_support::cloudinary::{API_KEY, API_SECRET, Behavior, FakeCloudinary};
use tokio::net::TcpListener;
use tracing::Level;

use crate::{config, key, store, upload};

/// Uploads a file to a fake that behaves in this way.
async fn upload_result(mood: Behavior) -> Result<Media> {
    upload_to(&store(&FakeCloudinary::start(mood).await)).await
}

async fn upload_to(store: &Cloudinary) -> Result<Media> {
    let (_file, file) = upload(b"content", MediaKind::Png);
    store.store(key('a', MediaKind::Png), file, false).await
}

fn responds(status: u16, body: &str) -> Behavior {
    Behavior::Responds(status, body.into())
}

#[tokio::test]
async fn every_error_status_is_a_failed_upload() {
    for status in [400, 401, 403, 404, 420, 429, 500, 502, 503, 204, 301, 302, 307] {
        let body = r#"{"secure_url":"https://res.cloudinary.com/demo-cloud/image/upload/v1/a.png"}"#;
        let stored = upload_result(responds(status, body)).await;
        assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED), "{status}");
    }
}

#[tokio::test]
async fn invalid_response_is_a_failed_upload() {
    for body in
        ["", "{", "<html>", "null", "[]", "{}", r#"{"secure_url":null}"#, r#"{"error":{"message":"x"}}"#]
    {
        assert_eq!(upload_result(responds(200, body)).await, Err(Error::MEDIA_UPLOAD_FAILED), "{body}");
    }
}

#[tokio::test]
async fn url_of_another_account_is_a_failed_upload() {
    for url in [
        "http://res.cloudinary.com/demo-cloud/image/upload/v1/a.png",
        "https://res.cloudinary.com/other-cloud/image/upload/v1/a.png",
        "https://example.com/demo-cloud/image/upload/v1/a.png",
        "http://127.0.0.1/demo-cloud/image/upload/v1/a.png",
        "javascript:alert(1)",
    ] {
        let stored = upload_result(responds(200, &format!(r#"{{"secure_url":"{url}"}}"#))).await;
        assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED), "{url}");
    }
}

#[tokio::test]
async fn truncated_or_endless_response_is_a_failed_upload() {
    assert_eq!(upload_result(Behavior::Truncates).await, Err(Error::MEDIA_UPLOAD_FAILED));
    assert_eq!(upload_result(Behavior::NeverEnds).await, Err(Error::MEDIA_UPLOAD_FAILED));
}

#[tokio::test]
async fn hanging_upload_times_out() {
    let standin = FakeCloudinary::start(Behavior::Hangs).await;
    let config = CloudinaryConfig { timeout: Duration::from_millis(500), ..config(&standin) };
    let stored = upload_to(&Cloudinary::new(config).unwrap()).await;
    assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED));
}

#[tokio::test]
async fn refused_connection_is_a_failed_upload() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let standin = FakeCloudinary::working().await;
    let config = CloudinaryConfig { api_base: format!("http://{address}"), ..config(&standin) };
    let stored = upload_to(&Cloudinary::new(config).unwrap()).await;
    assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED));
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let other = FakeCloudinary::working().await;
    let to = format!("{}/v1_1/demo-cloud/image/upload", other.base());
    assert_eq!(upload_result(Behavior::Redirects(to)).await, Err(Error::MEDIA_UPLOAD_FAILED));
    assert!(other.calls().is_empty());
}

#[tokio::test]
async fn wrong_secret_is_a_failed_upload() {
    let standin = FakeCloudinary::working().await;
    let config = CloudinaryConfig { api_secret: "wrong".into(), ..config(&standin) };
    let stored = upload_to(&Cloudinary::new(config).unwrap()).await;
    assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED));
    assert!(standin.stored_files().is_empty());
}

#[tokio::test]
async fn failed_copy_is_a_failed_upload() {
    let standin = FakeCloudinary::start(responds(500, "")).await;
    let media = Media { key: key('a', MediaKind::Png), url: None };
    let copied = store(&standin).copy(media, key('b', MediaKind::Png), false).await;
    assert_eq!(copied, Err(Error::MEDIA_UPLOAD_FAILED));
}

#[tokio::test]
async fn failed_deletion_is_an_error() {
    for mood in [
        responds(500, ""),
        responds(401, "{}"),
        responds(200, r#"{"result":"busy"}"#),
        responds(200, ""),
        Behavior::Truncates,
    ] {
        let standin = FakeCloudinary::start(mood).await;
        let deleted = store(&standin).delete(key('a', MediaKind::Png)).await;
        assert!(matches!(deleted, Err(Error::Unavailable(..))), "{deleted:?}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Captures the log of the whole process: the other tests must not log secrets either.
#[tokio::test]
async fn failures_are_logged_without_credentials() {
    let log = Log::default();
    let for_subscriber = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_writer(move || for_subscriber.clone())
        .try_init()
        .unwrap();
    tracing::callsite::rebuild_interest_cache();
    assert!(upload_result(responds(401, r#"{"error":{"message":"Invalid api_key 4711"}}"#)).await.is_err());
    assert!(upload_result(Behavior::Works).await.is_ok());
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("status 401"), "{text}");
    assert!(!text.contains(API_SECRET) && !text.contains("api_key 4711"), "{text}");
}

#[tokio::test]
async fn debug_output_of_config_omits_the_credentials() {
    let debug = format!("{:?}", config(&FakeCloudinary::working().await));
    assert!(!debug.contains(API_SECRET) && !debug.contains(API_KEY), "{debug}");
}
