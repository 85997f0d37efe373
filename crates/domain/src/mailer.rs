//! Mails and the port that sends them.

use std::fmt;

use async_trait::async_trait;

use crate::{Result, users::Email};

/// A mail, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Whom it is for.
    pub to: Email,
    /// Its subject.
    pub subject: String,
    /// Its plain text part.
    pub text: String,
    /// Its HTML part.
    pub html: String,
}

/// The text carries a code or a link, which must not reach a log.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Why a mail was not taken over. The text is for the log and names no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The server cannot be reached or asks to try again (4yz).
    #[error("transient: {0}")]
    Transient(String),
    /// The server says no (5yz), or the mail cannot be built.
    #[error("permanent: {0}")]
    Permanent(String),
}

/// Sends mails.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands a mail over. `Ok` means that the other side has taken responsibility for it.
    async fn send(&self, mail: Mail) -> Result<(), MailError>;
}
