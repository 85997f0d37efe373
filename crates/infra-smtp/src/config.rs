//! How the SMTP server is reached.

use std::{fmt, str::FromStr, time::Duration};

/// When a connection becomes encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte (RFC 8314).
    Implicit,
    /// By STARTTLS before anything else is said; a server without it gets nothing (RFC 3207).
    StartTls,
    /// Never: for a mail catcher or a relay on the same machine.
    Plain,
}

impl Tls {
    /// What is usual on a port: 465 implicit, 587 STARTTLS, else plain.
    pub fn for_port(port: u16) -> Self {
        match port {
            465 => Self::Implicit,
            587 => Self::StartTls,
            _ => Self::Plain,
        }
    }
}

/// Reads `implicit`, `starttls` or `plain`, in any case.
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

/// Who the server takes us for.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name of the account.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// How the SMTP server is reached, and who the mails come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// The name of the server; its certificate must be for this name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When the connection becomes encrypted. The certificates that the system trusts are trusted.
    pub tls: Tls,
    /// The account to use; `None` if the server asks for none.
    pub login: Option<Login>,
    /// The sender's address, which also gets what cannot be delivered.
    pub sender_email: String,
    /// The sender's name; nothing is shown but the address if it is empty.
    pub sender_name: String,
    /// How long one mail may take, from connecting to the server's last word.
    pub timeout: Duration,
    /// How many connections are open at most; further mails wait. At least one.
    pub connections: usize,
}

/// Why there can be no mailer with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpConfigError {
    /// Not an address that a mail can come from.
    #[error("the sender's e-mail address is not valid")]
    Sender,
    /// No such mode.
    #[error("the TLS mode must be implicit, starttls or plain")]
    TlsMode,
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up")]
    TlsSetup,
}
