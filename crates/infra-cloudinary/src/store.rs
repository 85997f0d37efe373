//! The media store.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cloudinary::upload::{DeliveryType, OptionalParameters};
use domain::{
    Error, Result,
    media::{Media, MediaFile, MediaKey, MediaKind, MediaStore},
};
use reqwest::multipart::Part;
use serde::Deserialize;
use tokio::fs::File;

use crate::{
    CloudinaryConfig, CloudinaryConfigError, address,
    client::{Client, Fault},
};

/// The folder that all files go to.
const FOLDER: &str = "social_media_posts";

/// How long Cloudinary may take to fetch a private file that it copies.
const COPY_TIME: TimeDelta = TimeDelta::minutes(10);

/// Keeps files on Cloudinary. A clone shares the connections.
#[derive(Clone)]
pub struct Cloudinary {
    client: Arc<Client>,
    cloud_name: String,
}

/// What is of use in the answer to an upload.
#[derive(Deserialize)]
struct Uploaded {
    secure_url: String,
}

/// The answer to a deletion.
#[derive(Deserialize)]
struct Destroyed {
    result: String,
}

impl Cloudinary {
    /// Prepares calls; Cloudinary is reached when the first file comes.
    pub fn new(config: CloudinaryConfig) -> Result<Self, CloudinaryConfigError> {
        let cloud_name = config.cloud_name.clone();
        Ok(Self { client: Arc::new(Client::new(config)?), cloud_name })
    }

    async fn upload(&self, key: MediaKey, is_private: bool, file: Part) -> Result<Media, Fault> {
        let (kind, public_id) = place(&key).ok_or(Fault::Nonsense)?;
        let options = [
            OptionalParameters::PublicId(public_id),
            OptionalParameters::AssetFolder(FOLDER.to_owned()),
            OptionalParameters::Type(delivery_type(is_private)),
        ];
        let uploaded: Uploaded = self.client.call(kind, "upload", &options, Some(file)).await?;
        let url = address::of_cloud(&uploaded.secure_url, &self.cloud_name).ok_or(Fault::ForeignAddress)?;
        let url = if is_private { address::without_signature(url) } else { url };
        Ok(Media { key, url: Some(url.into()) })
    }

    async fn destroy(&self, kind: MediaKind, public_id: &str, is_private: bool) -> Result<(), Fault> {
        let options = [
            OptionalParameters::PublicId(public_id.to_owned()),
            OptionalParameters::Type(delivery_type(is_private)),
            OptionalParameters::Invalidate(true),
        ];
        let destroyed: Destroyed = self.client.call(kind, "destroy", &options, None).await?;
        match destroyed.result.as_str() {
            "ok" | "not found" => Ok(()),
            _ => Err(Fault::Nonsense),
        }
    }

    /// Where Cloudinary finds a file of ours that it is to copy.
    fn source(&self, from: &Media) -> Option<String> {
        let public = from
            .url
            .as_deref()
            .and_then(|url| address::of_cloud(url, &self.cloud_name))
            .filter(|url| !address::is_private(url));
        match public {
            Some(url) => Some(url.into()),
            None => self.private_url(from, Utc::now() + COPY_TIME),
        }
    }
}

/// What a key names on Cloudinary; `None` if it is no key of ours.
fn place(key: &MediaKey) -> Option<(MediaKind, String)> {
    let kind = MediaKind::of_key(key)?;
    let (stem, _) = key.0.rsplit_once('.')?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (!stem.is_empty() && stem.bytes().all(is_base64)).then(|| (kind, format!("{FOLDER}/{stem}")))
}

fn delivery_type(is_private: bool) -> DeliveryType {
    if is_private { DeliveryType::Authenticated } else { DeliveryType::Upload }
}

/// Logs why and answers what clients may know.
fn upload_failed(fault: &Fault) -> Error {
    tracing::warn!(cause = %fault, "Cloudinary did not keep a file");
    Error::MEDIA_UPLOAD_FAILED
}

/// The file as it is sent, read while it is sent.
async fn part(key: &MediaKey, file: &MediaFile) -> Result<Part> {
    let content = File::open(&file.path).await.map_err(Error::internal)?;
    let length = content.metadata().await.map_err(Error::internal)?.len();
    if length != file.size {
        return Err(Error::internal("the file has not the announced size"));
    }
    Part::stream_with_length(content, length)
        .file_name(key.0.clone())
        .mime_str(file.kind.mime())
        .map_err(Error::internal)
}

#[async_trait]
impl MediaStore for Cloudinary {
    async fn store(&self, key: MediaKey, file: MediaFile, is_private: bool) -> Result<Media> {
        let part = part(&key, &file).await?;
        self.upload(key, is_private, part).await.map_err(|fault| upload_failed(&fault))
    }

    async fn copy(&self, from: Media, to: MediaKey, is_private: bool) -> Result<Media> {
        let source = self.source(&from).ok_or(Error::MEDIA_NOT_FOUND)?;
        self.upload(to, is_private, Part::text(source)).await.map_err(|fault| match fault {
            Fault::SourceGone => Error::MEDIA_NOT_FOUND,
            fault => upload_failed(&fault),
        })
    }

    async fn delete(&self, key: MediaKey) -> Result<()> {
        let Some((kind, public_id)) = place(&key) else {
            return Ok(()); // nothing can be there
        };
        // The key does not tell which of the two it is.
        let (public, private) =
            tokio::join!(self.destroy(kind, &public_id, false), self.destroy(kind, &public_id, true));
        public.and(private).map_err(Error::unavailable)
    }

    fn private_url(&self, media: &Media, expires_at: DateTime<Utc>) -> Option<String> {
        let (kind, public_id) = place(&media.key)?;
        let options =
            [OptionalParameters::PublicId(public_id), OptionalParameters::Type(delivery_type(true))];
        Some(self.client.download_url(kind, &options, expires_at).into())
    }
}
