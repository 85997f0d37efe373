use crate::testing::refused::{malformed, too_large, unsupported};

use super::{make, videos, *};

#[test]
fn what_is_of_no_accepted_kind_is_unsupported() {
    for (name, file) in unsupported() {
        assert!(matches!(refuse(&file), Error::Unsupported), "{name}");
    }
}

#[test]
fn what_would_unfold_to_too_many_pixels_is_too_large() {
    for (name, file) in too_large() {
        assert!(matches!(refuse(&file), Error::TooLarge), "{name}");
    }
}

#[test]
fn what_is_malformed_is_invalid() {
    for (name, file) in malformed() {
        let error = refuse(&file);
        assert!(is_malformed(&error), "{name}: {error:?}");
    }
}

#[test]
fn an_empty_file_is_invalid() {
    assert!(is_malformed(&refuse(b"")));
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
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
        for bytes in [16, file.len() - 1] {
            assert!(is_malformed(&refuse(&file[..bytes])), "{bytes} bytes of {:?}", &file[..12]);
        }
    }
}

#[test]
fn a_file_with_a_byte_too_many_is_too_large() {
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
fn a_missing_file_is_a_fault_of_ours() {
    let path = Path::new("/nonexistent/upload");
    let error = run(Sanitizer::new(Limits::default(), 1).sanitize(path)).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

#[test]
fn the_default_limits_are_those_of_the_interface() {
    let limits = Limits::default();
    assert_eq!((limits.image_bytes, limits.video_bytes), (10_485_760, 52_428_800));
}
