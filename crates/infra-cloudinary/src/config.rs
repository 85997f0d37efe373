//! How Cloudinary is reached.

use std::{fmt, time::Duration};

use reqwest::Url;

/// The account, and how it is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudinaryConfig {
    /// The name of the product environment ("cloud").
    pub cloud_name: String,
    /// The public half of the credentials.
    pub api_key: String,
    /// The secret half; it signs requests and never travels.
    pub api_secret: String,
    /// Where the API is: [`Self::API_BASE`], or a stand-in for tests.
    pub api_base: String,
    /// How long one call may take, an upload included.
    pub timeout: Duration,
}

impl CloudinaryConfig {
    /// Where Cloudinary's own API is.
    pub const API_BASE: &str = "https://api.cloudinary.com";

    /// The address that all calls begin with.
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

impl fmt::Debug for CloudinaryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudinaryConfig")
            .field("cloud_name", &self.cloud_name)
            .field("api_base", &self.api_base)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why there can be no client with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudinaryConfigError {
    /// Cloud names have letters, digits, hyphens and underscores.
    #[error("the Cloudinary cloud name is not valid")]
    CloudName,
    /// One half is missing.
    #[error("the Cloudinary API key or secret is missing")]
    Credentials,
    /// Not an address that calls can begin with.
    #[error("the Cloudinary API base is not an http or https address")]
    ApiBase,
    /// The HTTP client cannot be set up, such as for lack of certificates.
    #[error("the HTTP client for Cloudinary cannot be set up: {0}")]
    Client(String),
}
