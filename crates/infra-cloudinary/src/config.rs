//! Cloudinary settings.

use std::time::Duration;

use reqwest::Url;

/// A Cloudinary account and how to reach it.
#[derive(Clone, derive_more::Debug, PartialEq, Eq)]
pub struct CloudinaryConfig {
    /// Cloud name, the name of the product environment.
    pub cloud_name: String,
    /// Public part of the credentials.
    #[debug(skip)]
    pub api_key: String,
    /// Secret part, which signs requests and is never sent.
    #[debug(skip)]
    pub api_secret: String,
    /// Base URL of the API: [`Self::API_BASE`], or that of a fake in tests.
    pub api_base: String,
    /// Time limit for one request, including the upload of a file.
    pub timeout: Duration,
}

impl CloudinaryConfig {
    /// Base URL of Cloudinary's own API.
    pub const API_BASE: &str = "https://api.cloudinary.com";

    /// Returns the URL with which all endpoints begin.
    pub(crate) fn root(&self) -> Result<Url, CloudinaryConfigError> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.cloud_name.is_empty() || !self.cloud_name.bytes().all(is_name) {
            return Err(CloudinaryConfigError::CloudName);
        }
        if self.api_key.is_empty() || self.api_secret.is_empty() {
            return Err(CloudinaryConfigError::Credentials);
        }
        let mut root = Url::parse(&self.api_base)
            .ok()
            .filter(|url| matches!(url.scheme(), "https" | "http") && url.query().is_none())
            .ok_or(CloudinaryConfigError::ApiBase)?;
        let path = format!("{}/v1_1/{}/", root.path().trim_end_matches('/'), self.cloud_name);
        root.set_path(&path);
        Ok(root)
    }
}

/// A configuration error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudinaryConfigError {
    /// The cloud name has characters other than letters, digits, hyphens and underscores.
    #[error("the Cloudinary cloud name is not valid")]
    CloudName,
    /// The API key or secret is empty.
    #[error("the Cloudinary API key or secret is missing")]
    Credentials,
    /// The base URL is invalid.
    #[error("the Cloudinary API base is not an http or https URL")]
    ApiBase,
    /// The HTTP client failed to initialize, for example because the system has no root certificates.
    #[error("failed to set up the HTTP client for Cloudinary: {0}")]
    Client(String),
}
