//! Reading requests: the client's address, credentials, queries and bodies.

pub(crate) mod bearer;
pub(crate) mod body;
pub(crate) mod body_reader;
pub(crate) mod client_addr;
pub(crate) mod context;
pub(crate) mod fields;
pub(crate) mod multipart;
pub(crate) mod query;
pub(crate) mod rate_limit;
pub(crate) mod upload_slots;
