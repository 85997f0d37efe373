//! Reading requests: the client's address, credentials, queries and bodies.

pub(crate) mod bearer;
pub(crate) mod body;
pub(crate) mod body_reader;
pub(crate) mod checked;
pub(crate) mod client_addr;
pub(crate) mod context;
pub(crate) mod field_types;
pub(crate) mod fields;
pub(crate) mod inputs;
pub(crate) mod multipart;
pub(crate) mod rate_limit;
pub(crate) mod upload_slots;
