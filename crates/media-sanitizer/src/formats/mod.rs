//! One module for each container format. Each has a function that copies a file and leaves out all that is not needed
//! to show it.

mod codecs;
mod exif;
pub(crate) mod gif;
pub(crate) mod jpeg;
mod jpeg_scan;
pub(crate) mod mp4;
mod mp4_boxes;
mod mp4_samples;
mod patch;
pub(crate) mod png;
pub(crate) mod webm;
pub(crate) mod webp;

use crate::error::Error;

/// Maximum number of tracks of a video. Cameras write up to six, programs for several languages two dozen.
const MAX_TRACKS: u32 = 32;

/// Counts a track of a video, whether it is kept or not.
fn count_track(tracks: &mut u32) -> Result<(), Error> {
    *tracks += 1;
    if *tracks > MAX_TRACKS { Err(Error::Malformed("it has too many tracks")) } else { Ok(()) }
}
