//! Files that browsers show although something in them is missing or broken.

use super::{make, videos, *};
use crate::testing::repaired::all;

fn format(file: &[u8]) -> Format {
    Format::detect(&file[..12]).unwrap()
}

#[test]
fn broken_file_that_browsers_show_is_repaired() {
    for repaired in all() {
        let result = inspect(&repaired.broken, Limits::default());
        assert!(result.is_ok(), "{}: {result:?}", repaired.name);
        let cleaned = clean(format(&repaired.broken), &repaired.broken);
        assert!(cleaned == clean(format(&repaired.whole), &repaired.whole), "{}", repaired.name);
        assert!(!contains(&cleaned, &SECRET[..17]), "{}", repaired.name);
        if !format(&cleaned).is_video() {
            assert!(decode(&cleaned) == decode(&repaired.whole), "{}", repaired.name);
        }
    }
}

#[test]
fn half_a_jpeg_is_malformed_with_and_without_restart_markers() {
    let jpeg = make::jpeg();
    let scan = jpeg.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap() + 14;
    for end in scan..jpeg.len() - 3 {
        assert!(is_malformed(&refuse(&jpeg[..end])), "{end} of {} bytes", jpeg.len());
    }
}

#[test]
fn quicktime_becomes_mp4() {
    let film = videos::quicktime();
    let cleaned = clean(Format::Mp4, &film);
    assert_eq!(cleaned.len(), film.len());
    assert!(contains(&film, SECRET) && !contains(&cleaned, SECRET));
    assert_eq!(&cleaned[4..20], b"ftypmp42\0\0\0\0isom");
    for gone in [&b"qt  "[..], b"wide", b"alis", b"wave", b"chan", b"appl"] {
        assert!(contains(&film, gone) && !contains(&cleaned, gone), "{gone:?}");
    }
    // Version 0, no vendor, two channels of 16 bits at 44.1 kHz, and the configuration right after them.
    let sound = [&[0; 8][..], &[0, 2, 0, 16, 0, 0, 0, 0, 0xAC, 0x44, 0, 0], &videos::esds()].concat();
    assert!(contains(&cleaned, &sound));
    let sample = |file: &[u8]| file.windows(videos::SAMPLE.len()).position(|part| part == videos::SAMPLE);
    assert!(sample(&film).is_some() && sample(&cleaned) == sample(&film));
}

#[test]
fn mp4_is_accepted_by_its_tracks_whatever_its_brand() {
    for brand in [b"XAVC", b"3gp5", b"f4v ", b"qt  ", b"\0\0\0\0"] {
        let moov = videos::movie(&[&videos::simple_track()]);
        let data = videos::mp4_box(b"mdat", &[videos::SAMPLE]);
        clean(Format::Mp4, &[videos::ftyp(brand), moov, data].concat());
    }
}

#[test]
fn video_codec_that_no_browser_plays_is_named() {
    let with = |codec: &[u8; 4]| {
        let mut format = videos::picture_format(9, 9);
        format[20..24].copy_from_slice(codec);
        let track = videos::track(b"vide", &format, &videos::references(1, &[]), 0, 0);
        videos::mp4_with(&videos::movie(&[&track]), &[])
    };
    for codec in [b"avc1", b"avc3", b"hvc1", b"hev1", b"av01", b"vp09"] {
        clean(Format::Mp4, &with(codec));
    }
    for (codec, name) in [(b"mp4v", "MPEG-4 Part 2"), (b"apch", "Apple ProRes"), (b"s263", "H.263")] {
        let error = refuse(&with(codec));
        assert!(matches!(error, Error::UnsupportedCodec(message) if message.ends_with(name)), "{error:?}");
    }
    let theora = videos::webm_of(&[videos::tracks(1, b"V_THEORA", 9), videos::cluster()]);
    assert!(matches!(refuse(&theora), Error::UnsupportedCodec(message) if message.ends_with("Theora")));
}

#[test]
fn webm_loses_its_subtitles_with_their_blocks_and_cues() {
    let film = videos::webm_with_subtitles();
    let cleaned = clean(Format::Webm, &film);
    assert_eq!(cleaned.len(), film.len());
    assert!(contains(&film, SECRET) && !contains(&cleaned, &SECRET[..17]));
    let count = |file: &[u8], part: &[u8]| file.windows(part.len()).filter(|window| *window == part).count();
    // Simple blocks, blocks in groups, and cues of track 2; those of track 1 are kept.
    for (part, before, after) in [
        (&b"\x82\0\0\x80"[..], 2, 0),
        (b"\x82\0\0\0", 2, 0),
        (b"\xB7\x83\xF7\x81\x02", 4, 0),
        (b"\xB7\x83\xF7\x81\x01", 4, 4),
        (videos::SAMPLE, 4, 4),
        (b"S_TEXT/UTF8", 1, 0),
    ] {
        assert_eq!((count(&film, part), count(&cleaned, part)), (before, after), "{part:?}");
    }
}

#[test]
fn pictures_of_phones_are_not_too_large() {
    for (width, height) in [(8160, 6144), (9248, 6936), (12_000, 9000)] {
        let png = [&make::png_header(width, height), &make::png()[33..]].concat();
        clean(Format::Png, &png);
    }
}
