//! Types of settings.

use std::fmt;

/// Whether the server runs for development or in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Every setting has a default.
    Development,
    /// The server refuses to start with unsafe settings.
    Production,
}

/// How mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailConfig {
    /// Mail is not sent but appears at `/dev/inbox`.
    Inbox,
    /// By an SMTP server.
    Smtp(SmtpConfig),
}

/// Encryption of an SMTP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, which the server must offer.
    StartTls,
    /// No encryption.
    None,
}

/// An SMTP server and the sender of its mail.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// Host name of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// Encryption of the connection.
    pub tls: SmtpTls,
    /// Address of the sender.
    pub sender: String,
    /// Name of the sender.
    pub sender_name: String,
}

impl fmt::Debug for SmtpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A Cloudinary account.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudinaryConfig {
    /// Cloud name.
    pub cloud_name: String,
    /// API key.
    pub api_key: String,
    /// API secret.
    pub api_secret: String,
    /// Base URL of the API.
    pub api_base: String,
}

/// Invalid settings: one sentence for each, which begins with the name of the variable.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invalid settings:")?;
        for error in &self.0 {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}
