//! Mail over SMTP, and an in-memory inbox for development.

mod config;
mod error;
mod inbox;
mod pool;
mod smtp;
#[cfg(test)]
mod tests;

pub use config::{Login, SmtpConfig, SmtpConfigError, Tls};
pub use inbox::{DevInbox, ReceivedMail};
pub use smtp::SmtpMailer;
