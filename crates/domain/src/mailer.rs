//! Mails and the port that sends them.

use async_trait::async_trait;

use crate::{Result, users::Email};

/// A mail, ready to be sent. Debug output hides all but the subject: the text contains a code or a link, which must not
/// reach a log.
#[derive(Clone, derive_more::Debug, PartialEq, Eq)]
pub struct Mail {
    /// Its recipient.
    #[debug(skip)]
    pub to: Email,
    /// Its subject.
    pub subject: String,
    /// Its plain text part.
    #[debug(skip)]
    pub text: String,
    /// Its HTML part.
    #[debug(skip)]
    pub html: String,
}

/// Why a mail was not sent. The text is for the log and contains no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The server is unreachable or asks to retry (4yz, RFC 5321).
    #[error("transient: {0}")]
    Transient(String),
    /// The server rejected the mail (5yz), or the mail cannot be built.
    #[error("permanent: {0}")]
    Permanent(String),
}

/// Sends mails.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends a mail. `Ok` means that the server has accepted responsibility for it.
    async fn send(&self, mail: Mail) -> Result<(), MailError>;
}
