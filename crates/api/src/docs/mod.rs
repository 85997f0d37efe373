//! The API's documentation: the OpenAPI document and the pages that show it.

pub mod openapi;
pub(crate) mod page;
pub(crate) mod pages;
