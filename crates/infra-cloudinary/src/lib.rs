//! Media files on Cloudinary.
//!
//! A thin client of the upload API with the option types of the `cloudinary` crate. The crate's own calls take
//! images only, wait without limit and reach no other host.

mod address;
mod client;
mod config;
mod signature;
mod store;

pub use config::{CloudinaryConfig, CloudinaryConfigError};
pub use store::Cloudinary;
