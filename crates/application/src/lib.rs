//! What one can do with the network: a service a noun, a method a use case.
//!
//! Use cases take owned values, since they run to their end on the main runtime also when the client that asked
//! has gone.

pub mod passwords;
pub mod random;
pub mod tokens;
