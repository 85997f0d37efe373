//! Media files on the local disk.

mod directory;
mod process_dir;
mod space;
mod store;
mod upload_dir;

pub use process_dir::ProcessDir;
pub use store::DiskStore;
pub use upload_dir::UploadDir;
