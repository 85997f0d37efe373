//! Media files on Cloudinary.
//!
//! A small client of the upload API that uses the option types of the `cloudinary` crate. The crate's own client
//! uploads images only, has no timeouts and cannot be directed to another host.

mod client;
mod config;
mod delivery_url;
mod error;
mod signature;
mod store;

pub use config::{CloudinaryConfig, CloudinaryConfigError};
pub use store::Cloudinary;
