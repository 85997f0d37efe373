//! Entities, value types and ports of the social network.
//!
//! Ports are traits through which use cases reach databases, mail servers, media stores and connected clients. Their
//! doc comments are contracts that every implementation keeps. With the feature `mocks`, each has a mock `Mock…`.
//!
//! This crate depends on no framework and no driver.

pub mod accounts;
pub mod clock;
pub mod comments;
pub mod error;
pub mod follows;
pub mod health;
pub mod live_throttle;
pub mod mailer;
pub mod maintenance;
pub mod media;
pub mod notifications;
pub mod outbox;
pub mod page;
pub mod passwords;
pub mod posts;
pub mod rate_limit;
pub mod sessions;
pub mod text;
pub mod users;

pub use error::{Error, Reason, Result, Rule, Violation};
