//! The supported formats.

use crate::formats::mp4;

/// Number of leading bytes that determine the format of a file.
pub const HEAD_LENGTH: usize = 12;

/// A supported file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG (ITU-T T.81).
    Jpeg,
    /// PNG, animated ones included (W3C PNG, third edition).
    Png,
    /// GIF 87a and 89a.
    Gif,
    /// WebP (RFC 9649).
    Webp,
    /// MP4 (ISO/IEC 14496-12). `QuickTime` files become MP4.
    Mp4,
    /// `WebM`.
    Webm,
}

impl Format {
    /// Returns whether files of this format are videos.
    pub fn is_video(self) -> bool {
        matches!(self, Self::Mp4 | Self::Webm)
    }

    /// Detects a format by the first [`HEAD_LENGTH`] bytes of a file. Only sanitizing shows whether the
    /// rest of the file has this format.
    pub fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Some(Self::Webp),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if !mp4::is_other_brand(brand) => {
                Some(Self::Mp4)
            }
            [0x1A, 0x45, 0xDF, 0xA3, ..] => Some(Self::Webm),
            _ => None,
        }
    }
}
