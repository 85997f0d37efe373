//! The media store on Cloudinary.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cloudinary::upload::{DeliveryType, OptionalParameters};
use domain::{
    Error, Result,
    clock::{Clock as _, SystemClock},
    media::{Media, MediaFile, MediaKey, MediaKind, MediaStore},
};
use reqwest::multipart::Part;
use serde::Deserialize;
use tokio::fs::File;

use crate::{CloudinaryConfig, CloudinaryConfigError, client::Client, delivery_url, error::RequestError};

/// Folder of all files.
const FOLDER: &str = "social_media_posts";

/// Lifetime of the URL from which Cloudinary loads a private file to copy.
const COPY_URL_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Stores files on Cloudinary. Clones share the connections.
#[derive(Clone)]
pub struct Cloudinary {
    client: Arc<Client>,
    cloud_name: String,
}

/// Response to an upload.
#[derive(Deserialize)]
struct UploadResponse {
    secure_url: String,
}

/// Response to a deletion.
#[derive(Deserialize)]
struct DestroyResponse {
    result: String,
}

impl Cloudinary {
    /// Creates a store, which connects when it is first used.
    pub fn new(config: CloudinaryConfig) -> Result<Self, CloudinaryConfigError> {
        let cloud_name = config.cloud_name.clone();
        Ok(Self { client: Arc::new(Client::new(config)?), cloud_name })
    }

    async fn upload(&self, key: MediaKey, is_private: bool, file: Part) -> Result<Media, RequestError> {
        let (kind, public_id) = identify(&key).ok_or(RequestError::InvalidKey)?;
        let options = [
            OptionalParameters::PublicId(public_id),
            OptionalParameters::AssetFolder(FOLDER.to_owned()),
            OptionalParameters::Type(delivery_type(is_private)),
        ];
        let response: UploadResponse = self.client.post(kind, "upload", &options, Some(file)).await?;
        let url =
            delivery_url::parse(&response.secure_url, &self.cloud_name).ok_or(RequestError::ForeignUrl)?;
        let url = if is_private { delivery_url::without_signature(url) } else { url };
        Ok(Media { key, url: Some(url.into()) })
    }

    async fn destroy(&self, kind: MediaKind, public_id: &str, is_private: bool) -> Result<(), RequestError> {
        let options = [
            OptionalParameters::PublicId(public_id.to_owned()),
            OptionalParameters::Type(delivery_type(is_private)),
            OptionalParameters::Invalidate(true),
        ];
        let response: DestroyResponse = self.client.post(kind, "destroy", &options, None).await?;
        match response.result.as_str() {
            "ok" | "not found" => Ok(()),
            _ => Err(RequestError::InvalidResponse),
        }
    }

    /// Returns the URL from which Cloudinary loads a file to copy.
    fn source_url(&self, from: &Media) -> Option<String> {
        let public = from
            .url
            .as_deref()
            .and_then(|url| delivery_url::parse(url, &self.cloud_name))
            .filter(|url| !delivery_url::is_private(url));
        match public {
            Some(url) => Some(url.into()),
            None => self.signed_url(from, SystemClock.now() + COPY_URL_LIFETIME),
        }
    }
}

/// Returns the kind and the public ID of a file, or `None` if the key is invalid.
fn identify(key: &MediaKey) -> Option<(MediaKind, String)> {
    let kind = MediaKind::from_key(key)?;
    let (stem, _) = key.0.rsplit_once('.')?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (!stem.is_empty() && stem.bytes().all(is_base64)).then(|| (kind, format!("{FOLDER}/{stem}")))
}

fn delivery_type(is_private: bool) -> DeliveryType {
    if is_private { DeliveryType::Authenticated } else { DeliveryType::Upload }
}

/// Logs the cause of a failed upload, which clients must not see.
fn upload_error(error: &RequestError) -> Error {
    tracing::warn!(%error, "failed to store a file on Cloudinary");
    Error::MEDIA_UPLOAD_FAILED
}

/// Opens a file as a form part that is read while it is sent.
async fn file_part(key: &MediaKey, file: &MediaFile) -> Result<Part> {
    let content = File::open(&file.path).await.map_err(Error::internal)?;
    let length = content.metadata().await.map_err(Error::internal)?.len();
    if length != file.size {
        return Err(Error::internal("the file does not have the announced size"));
    }
    Part::stream_with_length(content, length)
        .file_name(key.0.clone())
        .mime_str(file.kind.mime())
        .map_err(Error::internal)
}

#[async_trait]
impl MediaStore for Cloudinary {
    async fn store(&self, key: MediaKey, file: MediaFile, is_private: bool) -> Result<Media> {
        let part = file_part(&key, &file).await?;
        self.upload(key, is_private, part).await.map_err(|error| upload_error(&error))
    }

    async fn copy(&self, from: Media, to: MediaKey, is_private: bool) -> Result<Media> {
        let source = self.source_url(&from).ok_or(Error::MEDIA_NOT_FOUND)?;
        self.upload(to, is_private, Part::text(source)).await.map_err(|error| match error {
            RequestError::SourceNotFound => Error::MEDIA_NOT_FOUND,
            error => upload_error(&error),
        })
    }

    async fn delete(&self, key: MediaKey) -> Result<()> {
        let Some((kind, public_id)) = identify(&key) else {
            return Ok(()); // no such file can exist
        };
        // The key does not say whether the file is public or private.
        let (public, private) =
            tokio::join!(self.destroy(kind, &public_id, false), self.destroy(kind, &public_id, true));
        public.and(private).map_err(Error::unavailable)
    }

    fn signed_url(&self, media: &Media, expires_at: DateTime<Utc>) -> Option<String> {
        let (kind, public_id) = identify(&media.key)?;
        let options =
            [OptionalParameters::PublicId(public_id), OptionalParameters::Type(delivery_type(true))];
        Some(self.client.download_url(kind, &options, expires_at).into())
    }
}
