//! Media files on the local disk.

mod files;
mod store;

pub use store::DiskStore;
