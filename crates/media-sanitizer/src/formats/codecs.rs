//! Video codecs.

use crate::error::Error;

/// Returns the error for a video codec that no browser plays, given its name in an MP4.
pub(crate) fn unsupported(codec: &[u8]) -> Error {
    known_unsupported(codec)
        .unwrap_or(Error::UnsupportedCodec("Browsers cannot play the video codec of this file"))
}

/// Returns the error for a video codec that no browser plays, given its name in an MP4 or a `WebM`, if it is well known.
pub(crate) fn known_unsupported(codec: &[u8]) -> Option<Error> {
    macro_rules! messages {
        ($($($codec:literal)|+ => $name:literal,)*) => {
            match codec {
                $($($codec)|+ => concat!("Browsers cannot play the video codec ", $name),)*
                _ => return None,
            }
        };
    }
    Some(Error::UnsupportedCodec(messages! {
        b"mp4v" | b"V_MPEG4/ISO/SP" | b"V_MPEG4/ISO/ASP" | b"V_MPEG4/ISO/AP" => "MPEG-4 Part 2",
        b"s263" | b"h263" | b"H263" => "H.263",
        b"jpeg" | b"mjpa" | b"mjpb" | b"mjpg" | b"MJPG" | b"V_MJPEG" => "Motion JPEG",
        b"mjp2" => "Motion JPEG 2000",
        b"apco" | b"apcs" | b"apcn" | b"apch" | b"ap4h" | b"ap4x" | b"aprn" | b"aprh" | b"V_PRORES" =>
            "Apple ProRes",
        b"mp1v" | b"m1v " | b"V_MPEG1" => "MPEG-1",
        b"mp2v" | b"m2v1" | b"mpg2" | b"hdv1" | b"hdv2" | b"hdv3" | b"xdv2" | b"xdv3" | b"mx5p" | b"V_MPEG2" =>
            "MPEG-2",
        b"dvc " | b"dvcp" | b"dvpp" | b"dv5p" | b"dv5n" | b"dvh5" | b"dvh6" => "DV",
        b"AVdn" | b"AVdh" => "Avid DNxHD",
        b"CFHD" => "CineForm",
        b"SVQ1" | b"SVQ3" => "Sorenson Video",
        b"cvid" => "Cinepak",
        b"rle " => "QuickTime Animation",
        b"png " => "PNG",
        b"raw " | b"2vuy" | b"yuv2" | b"v210" | b"V_UNCOMPRESSED" => "uncompressed video",
        b"vc-1" => "VC-1",
        b"vvc1" | b"vvi1" => "H.266",
        b"evc1" => "EVC",
        b"encv" => "encrypted video",
        b"V_THEORA" => "Theora",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_codec() {
        for (codec, message) in [
            (&b"mp4v"[..], "Browsers cannot play the video codec MPEG-4 Part 2"),
            (b"apch", "Browsers cannot play the video codec Apple ProRes"),
            (b"????", "Browsers cannot play the video codec of this file"),
        ] {
            assert!(matches!(unsupported(codec), Error::UnsupportedCodec(found) if found == message));
        }
    }
}
