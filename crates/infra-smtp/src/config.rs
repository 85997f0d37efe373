//! SMTP settings.

use std::{fmt, str::FromStr, time::Duration};

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS, required: nothing is sent to a server that does not offer it (RFC 3207).
    StartTls,
    /// No encryption: for a mail catcher or a relay on the same machine.
    Plain,
}

impl Tls {
    /// Returns the usual mode of a port: implicit for 465, STARTTLS for 587, otherwise plain.
    pub fn for_port(port: u16) -> Self {
        match port {
            465 => Self::Implicit,
            587 => Self::StartTls,
            _ => Self::Plain,
        }
    }
}

/// Parses `implicit`, `starttls` or `plain`, ignoring case.
impl FromStr for Tls {
    type Err = SmtpConfigError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.to_ascii_lowercase().as_str() {
            "implicit" => Ok(Self::Implicit),
            "starttls" => Ok(Self::StartTls),
            "plain" => Ok(Self::Plain),
            _ => Err(SmtpConfigError::TlsMode),
        }
    }
}

/// Credentials of an account on the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// The SMTP server and the sender of all mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// Host name, which the certificate must match.
    pub host: String,
    /// Name by which this machine greets the server (EHLO). `None`: its host name.
    pub hello_name: Option<String>,
    /// Port.
    pub port: u16,
    /// Encryption. Certificates are verified with the root certificates of the system.
    pub tls: Tls,
    /// Credentials; `None` for a server without authentication.
    pub login: Option<Login>,
    /// Address of the sender, which also receives bounces.
    pub sender_email: String,
    /// Display name of the sender; may be empty.
    pub sender_name: String,
    /// Time limit for one mail, from connecting to the last response.
    pub timeout: Duration,
    /// Maximum number of open connections, at least one. Further mail waits.
    pub max_connections: usize,
}

/// A configuration error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpConfigError {
    /// The sender's address is invalid.
    #[error("the sender's e-mail address is not valid")]
    Sender,
    /// The TLS mode is unknown.
    #[error("the TLS mode must be implicit, starttls or plain")]
    TlsMode,
    /// The TLS library failed to initialize.
    #[error("failed to set up TLS")]
    TlsSetup,
}
