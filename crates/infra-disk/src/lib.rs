//! Media files on the local disk.

mod directory;
mod process_dir;
mod space;
mod store;

pub use process_dir::ProcessDir;
pub use space::free_bytes;
pub use store::DiskStore;
