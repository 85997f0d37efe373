//! Calls to the upload API.
//!
//! <https://cloudinary.com/documentation/image_upload_api_reference>

use std::time::Duration;

use chrono::{DateTime, Utc};
use cloudinary::upload::OptionalParameters;
use domain::media::MediaKind;
use reqwest::{
    Response, StatusCode, Url,
    multipart::{Form, Part},
    redirect,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{CloudinaryConfig, CloudinaryConfigError, signature::sign};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The largest answer that is read. Real ones have a few kilobytes.
const MAX_ANSWER: usize = 256 * 1024;

/// Why a call brought nothing. The texts are fit for a log: no address, no credentials, nothing of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("Cloudinary did not answer in time")]
    Timeout,
    #[error("Cloudinary cannot be reached")]
    Unreachable,
    #[error("the connection to Cloudinary broke off")]
    Broken,
    #[error("Cloudinary answered with status {0}")]
    Status(u16),
    #[error("Cloudinary could not load the file to copy")]
    SourceGone,
    #[error("Cloudinary's answer makes no sense")]
    Nonsense,
    #[error("Cloudinary gave an address that is not ours")]
    ForeignAddress,
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::Unreachable
        } else {
            Self::Broken
        }
    }
}

/// What Cloudinary says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    error: Message,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

/// Makes signed calls.
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
            .connect_timeout(CONNECT.min(config.timeout))
            .redirect(redirect::Policy::none());
        if root.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]")) {
            http = http.no_proxy(); // a proxy would look at its own loopback
        }
        let http = http.build().map_err(|error| CloudinaryConfigError::Client(error.to_string()))?;
        Ok(Self { http, root, api_key: config.api_key, api_secret: config.api_secret })
    }

    /// Calls `action` for a file of this kind.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        kind: MediaKind,
        action: &str,
        options: &[OptionalParameters],
        file: Option<Part>,
    ) -> Result<T, Fault> {
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
        let answer = read(response).await?;
        if status != StatusCode::OK {
            return Err(refusal(status, &answer));
        }
        serde_json::from_slice(&answer).map_err(|_| Fault::Nonsense)
    }

    /// An address that loads a private file until `expires_at`.
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

    /// The parameters with all that proves who calls.
    fn signed(&self, mut parameters: Vec<(String, String)>) -> Vec<(String, String)> {
        parameters.push(("timestamp".to_owned(), Utc::now().timestamp().to_string()));
        let signature = sign(&parameters, &self.api_secret);
        parameters.push(("api_key".to_owned(), self.api_key.clone()));
        parameters.push(("signature".to_owned(), signature));
        parameters
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, Fault> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if answer.len() + chunk.len() > MAX_ANSWER {
            return Err(Fault::Nonsense);
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

/// Judges a refusal. That a file to copy is gone can be told only by the words.
fn refusal(status: StatusCode, answer: &[u8]) -> Fault {
    let says_gone = serde_json::from_slice::<Refusal>(answer).is_ok_and(|refusal| {
        let message = refusal.error.message;
        message.ends_with("404 Not Found") || message.starts_with("Resource not found")
    });
    if says_gone { Fault::SourceGone } else { Fault::Status(status.as_u16()) }
}
