//! What one can do with the network: a service a noun, a method a use case.
//!
//! Use cases take owned values, since they run to their end on the main runtime also when the client that asked
//! has gone.

pub mod accounts;
pub mod comments;
pub mod follows;
pub mod live;
pub mod mails;
pub mod notifications;
pub mod passwords;
pub mod posts;
pub mod random;
pub mod secrets;
pub mod sessions;
pub mod tokens;
