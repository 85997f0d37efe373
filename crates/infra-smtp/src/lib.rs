//! Mail over SMTP, and an in-memory inbox for development.

#![cfg_attr(test, allow(clippy::disallowed_methods))] // a test may read the system's time

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
