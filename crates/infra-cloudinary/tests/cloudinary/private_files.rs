//! Private files.

use chrono::{DateTime, TimeDelta, Utc};
use domain::media::{Media, MediaKind, MediaStore};

use test_support::cloudinary::{API_SECRET, FakeCloudinary};

use crate::{key, store, upload};

async fn store_private(standin: &FakeCloudinary, kind: MediaKind) -> Media {
    let (_file, file) = upload(b"content", kind);
    store(standin).store(key('a', kind), file, true).await.unwrap()
}

/// Loads the signed URL as a browser does. Returns status and body.
async fn load(standin: &FakeCloudinary, media: &Media, expires_at: DateTime<Utc>) -> (u16, Vec<u8>) {
    let url = store(standin).signed_url(media, expires_at).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(url).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn private_file_has_the_authenticated_type() {
    let standin = FakeCloudinary::working().await;
    store_private(&standin, MediaKind::Png).await;
    assert_eq!(standin.calls()[0].field("type"), "authenticated");
}

#[tokio::test]
async fn url_of_a_private_file_has_no_permanent_signature() {
    let standin = FakeCloudinary::working().await;
    let url = store_private(&standin, MediaKind::Png).await.url.unwrap();
    assert!(url.contains("/image/authenticated/v17/social_media_posts/"), "{url}");
}

#[tokio::test]
async fn signed_url_loads_a_private_file_until_it_expires() {
    for kind in [MediaKind::Jpeg, MediaKind::Webm] {
        let standin = FakeCloudinary::working().await;
        let media = store_private(&standin, kind).await;
        let now = Utc::now();
        assert_eq!(load(&standin, &media, now + TimeDelta::minutes(5)).await, (200, b"content".to_vec()));
        assert_eq!(load(&standin, &media, now - TimeDelta::seconds(1)).await.0, 404);
        let call = &standin.calls()[1];
        assert_eq!(call.field("format"), kind.extension());
        assert_eq!(call.number("expires_at"), Some((now + TimeDelta::minutes(5)).timestamp()));
    }
}

#[tokio::test]
async fn modified_signed_url_is_rejected() {
    let standin = FakeCloudinary::working().await;
    let media = store_private(&standin, MediaKind::Png).await;
    let expires_at = Utc::now() + TimeDelta::hours(1);
    let url = store(&standin).signed_url(&media, expires_at).unwrap();
    let expiry = |at: DateTime<Utc>| format!("expires_at={}", at.timestamp());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for changed in [
        url.replace("aaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbb"),
        url.replace("type=authenticated", "type=upload"),
        url.replace(&expiry(expires_at), &expiry(expires_at + TimeDelta::hours(1))),
    ] {
        assert_ne!(changed, url);
        assert_eq!(client.get(changed).send().await.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn signed_url_does_not_contain_the_secret() {
    let standin = FakeCloudinary::working().await;
    let media = store_private(&standin, MediaKind::Png).await;
    assert!(!store(&standin).signed_url(&media, Utc::now()).unwrap().contains(API_SECRET));
}
