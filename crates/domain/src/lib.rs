//! What the network is: its entities, the rules of their values, and the ports through which the use cases
//! reach databases, mail, media and live clients.
//!
//! This crate knows no framework and no driver. Every port is a trait; with the feature `mocks` each has a
//! `Mock…` beside it.

pub mod accounts;
pub mod clock;
pub mod comments;
pub mod error;
pub mod follows;
pub mod health;
pub mod mailer;
pub mod maintenance;
pub mod media;
pub mod notifications;
pub mod outbox;
pub mod page;
pub mod posts;
pub mod rate_limit;
pub mod sessions;
pub mod users;

pub use error::{Error, Reason, Result, Rule, Violation};
