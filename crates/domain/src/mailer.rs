//! Mails and the port that sends them.

use std::fmt;

use async_trait::async_trait;

use crate::{Result, users::Email};

/// A mail, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its recipient.
    pub to: Email,
    /// Its subject.
    pub subject: String,
    /// Its plain text part.
    pub text: String,
    /// Its HTML part.
    pub html: String,
}

/// Hides the text: it contains a code or a link, which must not reach a log.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("subject", &self.subject).finish_non_exhaustive()
    }
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
