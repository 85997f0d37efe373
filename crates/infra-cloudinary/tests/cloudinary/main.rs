//! Tests against a fake Cloudinary over HTTP.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // a test may read the system's time

mod failures;
mod private_files;
mod storing;

use std::{path::PathBuf, time::Duration};

use domain::media::{MediaFile, MediaKey, MediaKind};
use infra_cloudinary::{Cloudinary, CloudinaryConfig};
use tempfile::NamedTempFile;
use test_support::cloudinary::{API_KEY, API_SECRET, CLOUD, FakeCloudinary};

fn config(standin: &FakeCloudinary) -> CloudinaryConfig {
    CloudinaryConfig {
        cloud_name: CLOUD.into(),
        api_key: API_KEY.into(),
        api_secret: API_SECRET.into(),
        api_base: standin.base(),
        timeout: Duration::from_secs(20),
    }
}

fn store(standin: &FakeCloudinary) -> Cloudinary {
    Cloudinary::new(config(standin)).unwrap()
}

fn key(name: char, kind: MediaKind) -> MediaKey {
    MediaKey(format!("{}.{}", String::from(name).repeat(22), kind.extension()))
}

/// Creates a file to upload, which is removed when the first value is dropped.
fn upload(content: &[u8], kind: MediaKind) -> (NamedTempFile, MediaFile) {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let media = MediaFile { path: PathBuf::from(file.path()), kind, size: content.len() as u64 };
    (file, media)
}
