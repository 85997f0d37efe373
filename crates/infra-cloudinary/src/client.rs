//! Client of the upload API.
//!
//! <https://cloudinary.com/documentation/image_upload_api_reference>

use std::time::Duration;

use chrono::{DateTime, Utc};
use cloudinary::upload::OptionalParameters;
use domain::{
    clock::{Clock as _, SystemClock},
    media::MediaKind,
};
use reqwest::{
    Response, StatusCode, Url,
    multipart::{Form, Part},
    redirect,
};
use serde::de::DeserializeOwned;

use crate::{CloudinaryConfig, CloudinaryConfigError, error::RequestError, signature::sign};

/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a response in bytes. Real ones have a few kilobytes.
const MAX_RESPONSE_SIZE: usize = 256 * 1024;

/// Sends signed requests.
pub(crate) struct Client {
    http: reqwest::Client,
    root: Url,
    api_key: String,
    api_secret: String,
}

impl Client {
    pub(crate) fn new(config: CloudinaryConfig) -> Result<Self, CloudinaryConfigError> {
        let root = config.root()?;
        let mut http = reqwest::Client::builder()
            .timeout(config.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
            .redirect(redirect::Policy::none());
        if root.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]")) {
            http = http.no_proxy(); // a proxy would connect to its own loopback address
        }
        let http = http.build().map_err(|error| CloudinaryConfigError::Client(error.to_string()))?;
        Ok(Self { http, root, api_key: config.api_key, api_secret: config.api_secret })
    }

    /// Posts a request for `action` on a file of this kind.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        kind: MediaKind,
        action: &str,
        options: &[OptionalParameters],
        file: Option<Part>,
    ) -> Result<T, RequestError> {
        let parameters = options.iter().map(OptionalParameters::get_pair).collect();
        let mut form = Form::new();
        for (name, value) in self.signed(parameters) {
            form = form.text(name, value);
        }
        if let Some(file) = file {
            form = form.part("file", file);
        }
        let response = self.http.post(self.endpoint(kind, action)).multipart(form).send().await?;
        let status = response.status();
        let body = read_body(response).await?;
        if status != StatusCode::OK {
            return Err(RequestError::from_response(status, &body));
        }
        serde_json::from_slice(&body).map_err(|_| RequestError::InvalidResponse)
    }

    /// Returns a signed URL of a private file, valid until `expires_at`.
    pub(crate) fn download_url(
        &self,
        kind: MediaKind,
        options: &[OptionalParameters],
        expires_at: DateTime<Utc>,
    ) -> Url {
        let mut parameters: Vec<_> = options.iter().map(OptionalParameters::get_pair).collect();
        parameters.push(("format".to_owned(), kind.extension().to_owned()));
        parameters.push(("expires_at".to_owned(), expires_at.timestamp().to_string()));
        let mut url = self.endpoint(kind, "download");
        url.query_pairs_mut().extend_pairs(self.signed(parameters));
        url
    }

    fn endpoint(&self, kind: MediaKind, action: &str) -> Url {
        let resource_type = if kind.is_video() { "video" } else { "image" };
        let mut url = self.root.clone();
        url.set_path(&format!("{}{resource_type}/{action}", self.root.path()));
        url
    }

    /// Adds timestamp, API key and signature to the parameters.
    fn signed(&self, mut parameters: Vec<(String, String)>) -> Vec<(String, String)> {
        parameters.push(("timestamp".to_owned(), SystemClock.now().timestamp().to_string()));
        let signature = sign(&parameters, &self.api_secret);
        parameters.push(("api_key".to_owned(), self.api_key.clone()));
        parameters.push(("signature".to_owned(), signature));
        parameters
    }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, RequestError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_RESPONSE_SIZE {
            return Err(RequestError::InvalidResponse);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
