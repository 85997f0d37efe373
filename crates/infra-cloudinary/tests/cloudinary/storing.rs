//! Storing, copying and deleting files.

use domain::{
    Error,
    media::{Media, MediaFile, MediaKey, MediaKind, MediaStore},
};
use infra_cloudinary::{Cloudinary, CloudinaryConfig, CloudinaryConfigError};

use test_support::cloudinary::FakeCloudinary;

use crate::{config, key, store, upload};

#[tokio::test]
async fn public_file_is_uploaded_and_returns_its_url() {
    let standin = FakeCloudinary::working().await;
    let (_file, file) = upload(b"\x89PNG\r\n\x1a\n and more", MediaKind::Png);
    let media = store(&standin).store(key('a', MediaKind::Png), file, false).await.unwrap();
    let url = "https://res.cloudinary.com/demo-cloud/image/upload/v17/social_media_posts/aaaaaaaaaaaaaaaaaaaaaa.ext";
    assert_eq!(media, Media { key: key('a', MediaKind::Png), url: Some(url.into()) });
    let call = &standin.calls()[0];
    assert_eq!(call.path, "/v1_1/demo-cloud/image/upload");
    assert_eq!(call.file.as_deref(), Some(&b"\x89PNG\r\n\x1a\n and more"[..]));
    assert_eq!(call.file_type.as_deref(), Some("image/png"));
    assert_eq!(call.field("public_id"), "social_media_posts/aaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(call.field("asset_folder"), "social_media_posts");
    assert_eq!(call.field("type"), "upload");
}

#[tokio::test]
async fn videos_are_stored_as_videos() {
    for kind in MediaKind::ALL {
        let standin = FakeCloudinary::working().await;
        let (_file, file) = upload(b"content", kind);
        store(&standin).store(key('a', kind), file, false).await.unwrap();
        let resource_type = if kind.is_video() { "video" } else { "image" };
        let expected = format!("{resource_type}/upload/social_media_posts/{}", "a".repeat(22));
        assert_eq!(standin.stored_files(), [expected], "{kind:?}");
    }
}

#[tokio::test]
async fn large_file_is_streamed_with_its_length() {
    let standin = FakeCloudinary::working().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (_file, file) = upload(&content, MediaKind::Mp4);
    store(&standin).store(key('a', MediaKind::Mp4), file, false).await.unwrap();
    let call = &standin.calls()[0];
    assert!(call.headers["content-length"].parse::<usize>().unwrap() > content.len());
    assert_eq!(call.headers.get("transfer-encoding"), None);
    assert!(call.file.as_ref() == Some(&content));
}

#[tokio::test]
async fn store_rejects_a_file_of_another_size() {
    let standin = FakeCloudinary::working().await;
    let (_file, file) = upload(b"content", MediaKind::Png);
    let file = MediaFile { size: 8, ..file };
    let stored = store(&standin).store(key('a', MediaKind::Png), file, false).await;
    assert!(matches!(stored, Err(Error::Internal(_))));
    assert!(standin.calls().is_empty());
}

#[tokio::test]
async fn delete_removes_public_and_private_files_and_invalidates_caches() {
    for is_private in [false, true] {
        let standin = FakeCloudinary::working().await;
        let store = store(&standin);
        let (_file, file) = upload(b"content", MediaKind::Webm);
        store.store(key('a', MediaKind::Webm), file, is_private).await.unwrap();
        store.delete(key('a', MediaKind::Webm)).await.unwrap();
        assert!(standin.stored_files().is_empty());
        for call in &standin.calls()[1..] {
            assert_eq!(call.path, "/v1_1/demo-cloud/video/destroy");
            assert_eq!(call.field("invalidate"), "true");
        }
    }
}

#[tokio::test]
async fn delete_of_a_missing_file_succeeds() {
    let standin = FakeCloudinary::working().await;
    store(&standin).delete(key('a', MediaKind::Png)).await.unwrap();
    assert_eq!(standin.calls().len(), 2);
}

#[tokio::test]
async fn public_file_is_copied_from_its_url() {
    let standin = FakeCloudinary::working().await;
    let store = store(&standin);
    let (_file, file) = upload(b"content", MediaKind::Png);
    let media = store.store(key('a', MediaKind::Png), file, false).await.unwrap();
    let copy = store.copy(media.clone(), key('b', MediaKind::Png), true).await.unwrap();
    assert_eq!(copy.key, key('b', MediaKind::Png));
    assert_eq!(Some(standin.calls()[1].field("file")), media.url.as_deref());
    let expected = ["image/authenticated/social_media_posts/b", "image/upload/social_media_posts/a"];
    let stems: Vec<_> =
        standin.stored_files().iter().map(|path| path[..path.len() - 21].to_owned()).collect();
    assert_eq!(stems, expected);
}

#[tokio::test]
async fn private_file_is_copied_from_a_signed_url() {
    let standin = FakeCloudinary::working().await;
    let store = store(&standin);
    let (_file, file) = upload(b"content", MediaKind::Mp4);
    let media = store.store(key('a', MediaKind::Mp4), file, true).await.unwrap();
    let copy = store.copy(media, key('b', MediaKind::Mp4), false).await.unwrap();
    assert!(copy.url.unwrap().contains("/video/upload/"));
    assert_eq!(standin.stored_files().len(), 2);
}

#[tokio::test]
async fn copy_of_a_missing_file_returns_not_found() {
    let standin = FakeCloudinary::working().await;
    let store = store(&standin);
    for is_private in [false, true] {
        let (_file, file) = upload(b"content", MediaKind::Png);
        let media = store.store(key('a', MediaKind::Png), file, is_private).await.unwrap();
        store.delete(media.key.clone()).await.unwrap();
        let copied = store.copy(media, key('b', MediaKind::Png), false).await;
        assert_eq!(copied, Err(Error::MEDIA_NOT_FOUND));
    }
    assert!(standin.stored_files().is_empty());
}

#[tokio::test]
async fn invalid_keys_are_not_sent() {
    let standin = FakeCloudinary::working().await;
    let store = store(&standin);
    for invalid in ["", "../other.png", "a/b.png", "a?b.png", "a.svg", ".png", "a\nb.png"] {
        let key = MediaKey(invalid.into());
        let (_file, file) = upload(b"content", MediaKind::Png);
        assert!(store.store(key.clone(), file, false).await.is_err(), "{invalid:?}");
        store.delete(key).await.unwrap();
    }
    assert!(standin.calls().is_empty());
}

#[tokio::test]
async fn api_base_may_end_with_a_slash() {
    let standin = FakeCloudinary::working().await;
    let config = CloudinaryConfig { api_base: format!("{}/", standin.base()), ..config(&standin) };
    Cloudinary::new(config).unwrap().delete(key('a', MediaKind::Png)).await.unwrap();
}

#[tokio::test]
async fn new_rejects_invalid_settings() {
    let standin = FakeCloudinary::working().await;
    let error = |config: CloudinaryConfig| Cloudinary::new(config).err().unwrap();
    for name in ["", "a/b", "../x", "a b"] {
        let config = CloudinaryConfig { cloud_name: name.into(), ..config(&standin) };
        assert_eq!(error(config), CloudinaryConfigError::CloudName);
    }
    for base in ["", "localhost", "ftp://localhost", "http://"] {
        let config = CloudinaryConfig { api_base: base.into(), ..config(&standin) };
        assert_eq!(error(config), CloudinaryConfigError::ApiBase, "{base}");
    }
    let config = CloudinaryConfig { api_secret: String::new(), ..config(&standin) };
    assert_eq!(error(config), CloudinaryConfigError::Credentials);
}
