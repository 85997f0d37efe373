//! One module for each container format. Each has a function that copies a file and leaves out all that is not needed
//! to show it.

mod exif;
pub(crate) mod gif;
pub(crate) mod jpeg;
pub(crate) mod mp4;
mod mp4_boxes;
mod mp4_samples;
mod patch;
pub(crate) mod png;
pub(crate) mod webm;
pub(crate) mod webp;
