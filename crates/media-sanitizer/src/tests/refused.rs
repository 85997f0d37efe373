use crate::testing::refused::{malformed, too_large, unsupported};

use super::{make, videos, *};

#[test]
fn unknown_formats_are_unsupported() {
    for (name, file) in unsupported() {
        assert!(matches!(refuse(&file), Error::Unsupported), "{name}");
    }
}

#[test]
fn too_many_pixels_are_refused() {
    for (name, file) in too_large() {
        assert!(matches!(refuse(&file), Error::TooManyPixels), "{name}");
    }
}

#[test]
fn malformed_files_are_malformed() {
    for (name, file) in malformed() {
        let error = refuse(&file);
        assert!(is_malformed(&error), "{name}: {error:?}");
    }
}

#[test]
fn empty_file_is_malformed() {
    assert!(is_malformed(&refuse(b"")));
}

#[test]
fn truncated_file_is_malformed() {
    let files = [
        make::jpeg_of_a_phone(6, true),
        make::png_of_a_phone(6),
        make::png_animated(),
        make::gif_of_a_talker(),
        make::webp_of_a_phone(6),
        make::webp_animated(),
        videos::mp4(),
        videos::webm(),
    ];
    for file in files {
        for eighth in 1..8 {
            let cut = &file[..file.len() * eighth / 8];
            assert!(is_malformed(&refuse(cut)), "{eighth}/8 of {:?}", &file[..12]);
        }
        assert!(is_malformed(&refuse(&file[..16])), "16 bytes of {:?}", &file[..12]);
    }
}

#[test]
fn file_one_byte_over_the_limit_is_too_large() {
    for (file, is_video) in
        [(make::jpeg(), false), (make::webp(), false), (videos::mp4(), true), (videos::webm(), true)]
    {
        let most = file.len() as u64 - 1;
        let limits = Limits::default();
        let limits = if is_video {
            Limits { video_bytes: most, ..limits }
        } else {
            Limits { image_bytes: most, ..limits }
        };
        assert!(matches!(inspect(&file, limits).unwrap_err(), Error::TooLarge));
    }
}

#[test]
fn missing_file_is_an_io_error() {
    let path = Path::new("/nonexistent/upload");
    let error = run(Sanitizer::new(Limits::default(), 1).sanitize(path)).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

#[test]
fn default_limits_are_10_and_50_mib() {
    let limits = Limits::default();
    assert_eq!((limits.image_bytes, limits.video_bytes), (10_485_760, 52_428_800));
}
