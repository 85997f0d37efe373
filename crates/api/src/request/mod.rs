//! Reading requests: the client's address, credentials, queries and bodies.

pub(crate) mod body;
pub(crate) mod body_stream;
pub(crate) mod budget;
mod checked;
pub(crate) mod client_addr;
mod field_types;
mod fields;
mod headers;
mod host;
mod inputs;
mod limits;
mod multipart;
mod parts;
pub(crate) mod rate_limit;
mod upload_dir;
mod upload_slots;

pub(crate) use body_stream::BodyPace;
pub(crate) use budget::Budget;
pub(crate) use checked::{Authentication, Checked};
pub(crate) use client_addr::address_of;
pub(crate) use field_types::UserFilter;
pub(crate) use fields::{FieldType, Fields, FromFields, max_body_bytes, request_fields};
pub(crate) use headers::{accepts_html, bearer, user_agent};
pub(crate) use host::{base_url, has_own_host};
pub(crate) use inputs::{
    AuthenticatedUser, FormBody, JsonBody, JsonBodyOrQuery, OptionalJsonBody, OptionalUser, PathId, Query,
    UploadBody,
};
pub(crate) use limits::BodyLimits;
pub(crate) use upload_dir::UploadDir;
pub(crate) use upload_slots::{Upload, UploadSlots};
