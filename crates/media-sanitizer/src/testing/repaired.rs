//! Files that browsers show although something in them is missing or broken.

use super::{SECRET, images as make, videos};

/// A broken file and one that is whole. Both have the same sanitized form.
pub struct Repaired {
    pub name: &'static str,
    pub broken: Vec<u8>,
    pub whole: Vec<u8>,
}

/// Every kind.
pub fn all() -> Vec<Repaired> {
    let kinds = [jpegs(), pngs(), gifs(), webps(), mp4s()];
    kinds.into_iter().flatten().map(|(name, broken, whole)| Repaired { name, broken, whole }).collect()
}

type Kinds = Vec<(&'static str, Vec<u8>, Vec<u8>)>;

fn jpegs() -> Kinds {
    let jpeg = make::jpeg();
    let end = jpeg.len() - 2;
    let ends_with = |more: &[u8]| [&jpeg[..end], more].concat();
    let comment = make::jpeg_segment(0xFE, SECRET);
    let trailer = [b"\0\0\x01\x0A\x0E\0\0\0Image_UTC_Data", SECRET, b"SEFT"].concat();
    [
        ("a JPEG without an end", ends_with(&[])),
        ("a JPEG with half an end", ends_with(&[0xFF])),
        ("a JPEG that ends in a comment", ends_with(&comment[..20])),
        ("a JPEG that ends after a comment", ends_with(&comment)),
        ("a JPEG without an end and with a trailer", ends_with(&trailer)),
        (
            "a JPEG with a trailer that begins like a marker",
            ends_with(&[&[0xFF, 0x5A], &trailer[..]].concat()),
        ),
        ("a JPEG with a trailer with an escaped byte", ends_with(&[&trailer[..], &[0xFF, 0, 0xFF]].concat())),
    ]
    .map(|(name, broken)| (name, broken, jpeg.clone()))
    .to_vec()
}

fn pngs() -> Kinds {
    let png = make::png();
    let end = png.len() - 12;
    let ends_with = |more: &[u8]| [&png[..end], more].concat();
    let broken = |kind: &[u8; 4], body: &[u8]| {
        let mut chunk = make::png_chunk(kind, body);
        *chunk.last_mut().unwrap() ^= 1;
        make::png_with(&[chunk])
    };
    let text = make::png_chunk(b"tEXt", SECRET);
    [
        ("a PNG without an end", ends_with(&[])),
        ("a PNG with half an end", ends_with(&png[end..end + 8])),
        ("a PNG with an end that has a body", ends_with(&make::png_chunk(b"IEND", SECRET))),
        ("a PNG that ends in a text", ends_with(&text[..20])),
        ("a PNG that ends after a text", ends_with(&text)),
        ("a PNG with a wrong sum of a text", broken(b"tEXt", SECRET)),
        ("a PNG with a wrong sum of its gamma", broken(b"gAMA", &[0; 4])),
        ("a PNG with a long gamma", make::png_with(&[make::png_chunk(b"gAMA", SECRET)])),
    ]
    .map(|(name, broken)| (name, broken, png.clone()))
    .to_vec()
}

fn gifs() -> Kinds {
    let gif = make::gif();
    let ends_with = |more: &[u8]| [&gif[..gif.len() - 1], more].concat();
    let comment = make::gif_extension(0xFE, &[SECRET]);
    [
        ("a GIF without a trailer", ends_with(&[])),
        ("a GIF with zeros instead of a trailer", ends_with(&[0; 9])),
        ("a GIF that ends in a comment", ends_with(&comment[..20])),
        ("a GIF that ends after a comment", ends_with(&comment)),
    ]
    .map(|(name, broken)| (name, broken, gif.clone()))
    .to_vec()
}

fn webps() -> Kinds {
    let extended =
        |more: &[u8]| make::riff(b"WEBP", &[make::vp8x(0, 33, 21), make::vp8l(33, 21), more.to_owned()]);
    let odd = |body: &[u8]| if body.len() % 2 == 1 { body.to_owned() } else { [body, &[0]].concat() };
    let picture = make::riff(b"WEBP", &[make::riff_chunk(b"VP8L", &odd(&make::vp8l(33, 21)[8..]))]);
    let mut uncounted = picture.clone();
    uncounted[4] -= 1;
    let without_last = |file: &[u8]| file[..file.len() - 1].to_owned();
    let chunk = make::riff_chunk(b"whaT", b"odd");
    vec![
        ("a WebP without its last padding", without_last(&picture), picture.clone()),
        ("a WebP that does not count its last padding", uncounted.clone(), picture.clone()),
        ("a WebP that does neither", without_last(&uncounted), picture.clone()),
        ("a WebP without the padding of a chunk", without_last(&extended(&chunk)), extended(&[])),
        ("a WebP with a chunk cut off", extended(b"XMP \xFF\0\0\0location"), extended(&[])),
        ("a WebP with a few bytes at its end", extended(b"XMP "), extended(&[])),
    ]
}

fn mp4s() -> Kinds {
    let moov = videos::movie(&[&videos::simple_track()]);
    [
        ("an MP4 with a few bytes appended", &b"PK"[..]),
        ("an MP4 with an archive appended", b"PK\x03\x04 and a whole archive"),
        ("an MP4 that ends in a box", b"\0\0\x01\0udta and no more"),
        ("an MP4 with a box that is too small", b"\0\0\0\x07free"),
    ]
    .map(|(name, more)| (name, videos::mp4_with(&moov, more), videos::mp4_with(&moov, &[])))
    .to_vec()
}
