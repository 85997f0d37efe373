//! Mail by SMTP, and the development inbox that stands in for it.

mod config;
mod connections;
mod fault;
mod inbox;
mod smtp;
#[cfg(test)]
mod tests;

pub use config::{Login, SmtpConfig, SmtpConfigError, Tls};
pub use inbox::{DevInbox, ReceivedMail};
pub use smtp::SmtpMailer;
