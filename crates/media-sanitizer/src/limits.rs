//! Limits on bytes, pixels and time.

use std::time::Duration;

use crate::format::Format;

/// The largest files that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of an image, in bytes.
    pub image_bytes: u64,
    /// Maximum size of a video, in bytes.
    pub video_bytes: u64,
    /// Maximum width times height, of images and videos.
    pub pixels: u64,
    /// Maximum time for a file. Half a second is usual for the largest ones.
    pub time: Duration,
}

impl Limits {
    pub(crate) fn max_bytes(self, format: Format) -> u64 {
        if format.is_video() { self.video_bytes } else { self.image_bytes }
    }
}

impl Default for Limits {
    /// Allows 10 MiB for images, 50 MiB for videos, 128 megapixels, and 30 seconds.
    fn default() -> Self {
        Self {
            image_bytes: 10 << 20,
            video_bytes: 50 << 20,
            pixels: 128_000_000,
            time: Duration::from_secs(30),
        }
    }
}
