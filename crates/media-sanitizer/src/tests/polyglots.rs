//! Files that are a picture to one program and something else to another.

use super::{make, *};

const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0payload.jarPK\x05\x06\0\0\0\0\x01\0\x01\0";
const SCRIPT: &[u8] = b"*/=1;alert(document.domain)//";

fn images() -> [(Format, Vec<u8>); 4] {
    [
        (Format::Jpeg, make::jpeg()),
        (Format::Png, make::png()),
        (Format::Gif, make::gif()),
        (Format::Webp, make::webp()),
    ]
}

#[test]
fn data_appended_to_an_image_is_removed() {
    let appended: [&[u8]; 6] =
        [ZIP, SCRIPT, b"<html><script>alert(1)</script>", b"%PDF-1.7\n%%EOF", b"MZ\x90\0", b"\0"];
    for (kind, image) in images() {
        let alone = clean(kind, &image);
        for more in appended {
            assert!(clean(kind, &[&image[..], more].concat()) == alone, "{kind:?}");
        }
        for (_, other) in images() {
            assert!(clean(kind, &[&image[..], &other].concat()) == alone, "{kind:?}");
        }
    }
}

#[test]
fn data_before_an_image_is_rejected() {
    for (kind, image) in images() {
        for before in [ZIP, b"<!--", b"\n", b"\xEF\xBB\xBF", b"GIF8"] {
            assert!(matches!(refuse(&[before, &image].concat()), Error::Unsupported), "{kind:?}");
        }
    }
}

#[test]
fn gif_polyglot_is_no_script_afterwards() {
    // The width reads as the begin of a comment, which ends in a GIF comment or after the trailer.
    let mut gif = make::gif_with(&[make::gif_extension(0xFE, &[SCRIPT])]);
    gif[6..8].copy_from_slice(b"/*");
    gif.extend_from_slice(SCRIPT);
    let cleaned = clean(Format::Gif, &gif);
    assert!(cleaned.starts_with(b"GIF89a/*"));
    assert!(!contains(&cleaned, b"*/") && !contains(&cleaned, b"alert"));
    assert_eq!(cleaned.last(), Some(&0x3B));
}

#[test]
fn script_disguised_as_gif_is_rejected() {
    assert!(is_malformed(&refuse(b"GIF89a/*\x01\x01\0\0\0,\0\0\0\0\x01\0\x01\0*/=alert(1)")));
    // Its first characters read as a size.
    assert!(matches!(refuse(b"GIF89a=1;alert(document.domain)//;"), Error::TooManyPixels));
}

#[test]
fn html_in_jpeg_segments_is_removed() {
    let html = b"<html><body onload=alert(1)><!--";
    let segments: Vec<_> =
        (0xE0..=0xEF).chain([0xFE]).map(|marker| make::jpeg_segment(marker, html)).collect();
    assert!(clean(Format::Jpeg, &make::jpeg_with(&segments)) == clean(Format::Jpeg, &make::jpeg()));
}

#[test]
fn jpeg_loses_application_segments_after_the_first_scan() {
    let jpeg = make::jpeg();
    let end = jpeg.len() - 2;
    let file = [
        &jpeg[..end],
        &make::jpeg_segment(0xFE, SECRET),
        &make::jpeg_segment(0xEE, b"Adobe0123456"),
        &jpeg[end..],
    ];
    assert!(clean(Format::Jpeg, &file.concat()) == clean(Format::Jpeg, &jpeg));
}

#[test]
fn zip_in_a_png_chunk_is_removed() {
    let file = make::png_with(&[make::png_chunk(b"ziPp", ZIP)]);
    assert!(clean(Format::Png, &file) == clean(Format::Png, &make::png()));
}

#[test]
fn webp_chunks_behind_the_declared_size_are_removed() {
    let simple = make::webp();
    let file =
        make::riff(b"WEBP", &[simple[12..].to_owned(), make::riff_chunk(b"EXIF", &make::exif(6, true))]);
    assert!(clean(Format::Webp, &file) == simple);
}
