//! Private files.

use chrono::{DateTime, TimeDelta, Utc};
use domain::media::{Media, MediaKind, MediaStore};

use test_support::cloudinary::{API_SECRET, StandIn};

use crate::{key, store, upload};

async fn private(standin: &StandIn, kind: MediaKind) -> Media {
    let (_file, file) = upload(b"content", kind);
    store(standin).store(key('a', kind), file, true).await.unwrap()
}

/// Loads the private address as a browser does: status and body.
async fn load(standin: &StandIn, media: &Media, expires_at: DateTime<Utc>) -> (u16, Vec<u8>) {
    let address = store(standin).private_url(media, expires_at).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(address).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn a_private_file_is_of_the_authenticated_type() {
    let standin = StandIn::working().await;
    private(&standin, MediaKind::Png).await;
    assert_eq!(standin.calls()[0].field("type"), "authenticated");
}

#[tokio::test]
async fn no_address_that_lasts_is_kept_for_a_private_file() {
    let standin = StandIn::working().await;
    let address = private(&standin, MediaKind::Png).await.url.unwrap();
    assert!(address.contains("/image/authenticated/v17/social_media_posts/"), "{address}");
}

#[tokio::test]
async fn a_private_file_loads_by_its_address_until_that_expires() {
    for kind in [MediaKind::Jpeg, MediaKind::Webm] {
        let standin = StandIn::working().await;
        let media = private(&standin, kind).await;
        let now = Utc::now();
        assert_eq!(load(&standin, &media, now + TimeDelta::minutes(5)).await, (200, b"content".to_vec()));
        assert_eq!(load(&standin, &media, now - TimeDelta::seconds(1)).await.0, 404);
        let call = &standin.calls()[1];
        assert_eq!(call.field("format"), kind.extension());
        assert_eq!(call.number("expires_at"), Some((now + TimeDelta::minutes(5)).timestamp()));
    }
}

#[tokio::test]
async fn a_changed_private_address_loads_nothing() {
    let standin = StandIn::working().await;
    let media = private(&standin, MediaKind::Png).await;
    let expires_at = Utc::now() + TimeDelta::hours(1);
    let address = store(&standin).private_url(&media, expires_at).unwrap();
    let expiry = |at: DateTime<Utc>| format!("expires_at={}", at.timestamp());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for changed in [
        address.replace("aaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbb"),
        address.replace("type=authenticated", "type=upload"),
        address.replace(&expiry(expires_at), &expiry(expires_at + TimeDelta::hours(1))),
    ] {
        assert_ne!(changed, address);
        assert_eq!(client.get(changed).send().await.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn a_private_address_does_not_give_the_secret_away() {
    let standin = StandIn::working().await;
    let media = private(&standin, MediaKind::Png).await;
    assert!(!store(&standin).private_url(&media, Utc::now()).unwrap().contains(API_SECRET));
}
