//! Media files on the local disk.

mod directory;
mod store;

pub use store::DiskStore;
