//! A Cloudinary that does not do what it should.

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
use test_support::cloudinary::{API_KEY, API_SECRET, Mood, StandIn};
use tokio::net::TcpListener;
use tracing::Level;

use crate::{config, key, store, upload};

/// What becomes of an upload to such a Cloudinary.
async fn outcome(mood: Mood) -> Result<Media> {
    upload_to(&store(&StandIn::start(mood).await)).await
}

async fn upload_to(store: &Cloudinary) -> Result<Media> {
    let (_file, file) = upload(b"content", MediaKind::Png);
    store.store(key('a', MediaKind::Png), file, false).await
}

fn says(status: u16, body: &str) -> Mood {
    Mood::Says(status, body.into())
}

#[tokio::test]
async fn every_refusal_is_a_failed_upload() {
    for status in [400, 401, 403, 404, 420, 429, 500, 502, 503, 204, 301, 302, 307] {
        let body = r#"{"secure_url":"https://res.cloudinary.com/demo-cloud/image/upload/v1/a.png"}"#;
        let stored = outcome(says(status, body)).await;
        assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED), "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_sense_is_a_failed_upload() {
    for body in
        ["", "{", "<html>", "null", "[]", "{}", r#"{"secure_url":null}"#, r#"{"error":{"message":"x"}}"#]
    {
        assert_eq!(outcome(says(200, body)).await, Err(Error::MEDIA_UPLOAD_FAILED), "{body}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_ours_is_a_failed_upload() {
    for address in [
        "http://res.cloudinary.com/demo-cloud/image/upload/v1/a.png",
        "https://res.cloudinary.com/other-cloud/image/upload/v1/a.png",
        "https://example.com/demo-cloud/image/upload/v1/a.png",
        "http://127.0.0.1/demo-cloud/image/upload/v1/a.png",
        "javascript:alert(1)",
    ] {
        let stored = outcome(says(200, &format!(r#"{{"secure_url":"{address}"}}"#))).await;
        assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED), "{address}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_never_ends_is_a_failed_upload() {
    assert_eq!(outcome(Mood::BreaksOff).await, Err(Error::MEDIA_UPLOAD_FAILED));
    assert_eq!(outcome(Mood::NeverEnds).await, Err(Error::MEDIA_UPLOAD_FAILED));
}

#[tokio::test]
async fn a_silent_cloudinary_is_given_up() {
    let standin = StandIn::start(Mood::Hangs).await;
    let config = CloudinaryConfig { timeout: Duration::from_millis(500), ..config(&standin) };
    let stored = upload_to(&Cloudinary::new(config).unwrap()).await;
    assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED));
}

#[tokio::test]
async fn an_unreachable_cloudinary_is_a_failed_upload() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let standin = StandIn::working().await;
    let config = CloudinaryConfig { api_base: format!("http://{address}"), ..config(&standin) };
    let stored = upload_to(&Cloudinary::new(config).unwrap()).await;
    assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = StandIn::working().await;
    let to = format!("{}/v1_1/demo-cloud/image/upload", other.base());
    assert_eq!(outcome(Mood::Redirects(to)).await, Err(Error::MEDIA_UPLOAD_FAILED));
    assert!(other.calls().is_empty());
}

#[tokio::test]
async fn a_wrong_secret_is_a_failed_upload() {
    let standin = StandIn::working().await;
    let config = CloudinaryConfig { api_secret: "wrong".into(), ..config(&standin) };
    let stored = upload_to(&Cloudinary::new(config).unwrap()).await;
    assert_eq!(stored, Err(Error::MEDIA_UPLOAD_FAILED));
    assert!(standin.kept().is_empty());
}

#[tokio::test]
async fn a_copy_that_cloudinary_does_not_make_is_a_failed_upload() {
    let standin = StandIn::start(says(500, "")).await;
    let media = Media { key: key('a', MediaKind::Png), url: None };
    let copied = store(&standin).copy(media, key('b', MediaKind::Png), false).await;
    assert_eq!(copied, Err(Error::MEDIA_UPLOAD_FAILED));
}

#[tokio::test]
async fn a_deletion_that_cloudinary_does_not_make_is_an_error() {
    for mood in
        [says(500, ""), says(401, "{}"), says(200, r#"{"result":"busy"}"#), says(200, ""), Mood::BreaksOff]
    {
        let standin = StandIn::start(mood).await;
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

/// Listens to the whole process: what the other tests log must hold no secret either.
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
    assert!(outcome(says(401, r#"{"error":{"message":"Invalid api_key 4711"}}"#)).await.is_err());
    assert!(outcome(Mood::Works).await.is_ok());
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("status 401"), "{text}");
    assert!(!text.contains(API_SECRET) && !text.contains("api_key 4711"), "{text}");
}

#[tokio::test]
async fn settings_do_not_show_the_credentials() {
    let shown = format!("{:?}", config(&StandIn::working().await));
    assert!(!shown.contains(API_SECRET) && !shown.contains(API_KEY), "{shown}");
}
