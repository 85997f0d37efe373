//! Files that are rejected, by name and error.

use super::{SECRET, images as make, videos};

/// Files that start like an accepted one and are malformed.
pub fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    [images(), animations(), films()].concat()
}

fn images() -> Vec<(&'static str, Vec<u8>)> {
    let jpeg = make::jpeg();
    let scan = jpeg.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
    let scan_header = usize::from(u16::from_be_bytes([jpeg[scan + 2], jpeg[scan + 3]])) + 2;
    let png = make::png();
    let png_without = |gone: &[u8; 4]| {
        let chunks = make::png_chunks(&png).into_iter().filter(|(kind, _)| kind != gone);
        [&png[..8], &chunks.flat_map(|(kind, body)| make::png_chunk(&kind, &body)).collect::<Vec<_>>()]
            .concat()
    };
    let mut wrong_sum = png.clone();
    wrong_sum[50] ^= 1;
    let palette = [make::png_header(5, 5), make::png_chunk(b"PLTE", &[1, 2, 3, 4])].concat();
    let twice = [&png[..png.len() - 12], &make::png_chunk(b"tEXt", b"a\0b"), &png[33..]].concat();
    vec![
        ("a JPEG without a scan", [&jpeg[..scan], &[0xFF, 0xD9]].concat()),
        ("a JPEG with an empty scan", [&jpeg[..scan + scan_header], &[0xFF, 0xD9]].concat()),
        ("a JPEG of nothing", vec![0xFF, 0xD8, 0xFF, 0xD9]),
        ("a JPEG that begins twice", [&jpeg[..2], &jpeg[..]].concat()),
        ("a JPEG with text between its segments", [&jpeg[..scan], b"<html>", &jpeg[scan..]].concat()),
        ("a JPEG with a segment of no length", make::jpeg_with(&[vec![0xFF, 0xE0, 0, 1]])),
        ("a JPEG whose segment goes beyond", make::jpeg_with(&[vec![0xFF, 0xE0, 0xFF, 0xFF]])),
        ("a JPEG with two frames", make::jpeg_with(&[jpeg_frame(0xC0, 9, 9)])),
        ("a lossless JPEG", make::jpeg_with(&[jpeg_frame(0xC3, 9, 9)])),
        ("a JPEG with an arithmetic code", make::jpeg_with(&[jpeg_frame(0xC9, 9, 9)])),
        ("a JPEG without a height", [&jpeg[..2], &jpeg_frame(0xC0, 9, 0), &jpeg[2..]].concat()),
        ("a JPEG with half a table", make::jpeg_with(&[make::jpeg_segment(0xDB, &[0; 20])])),
        ("a JPEG with half a code", make::jpeg_with(&[make::jpeg_segment(0xC4, &[9; 20])])),
        ("a PNG with half a signature", [&png[..6], &png[8..]].concat()),
        ("a PNG without a header", png_without(b"IHDR")),
        ("a PNG without data", png_without(b"IDAT")),
        ("a PNG with a wrong sum", wrong_sum),
        ("a PNG with a chunk that must be known", make::png_with(&[make::png_chunk(b"EVIL", b"")])),
        ("a PNG with a broken palette", palette),
        ("a PNG with a second picture", twice),
        ("a PNG without a width", [&make::png_header(0, 5), &png[33..]].concat()),
        ("a PNG with a chunk without end", make::png_with(&[b"\xFF\xFF\xFF\xFFtEXt".to_vec()])),
    ]
}

fn animations() -> Vec<(&'static str, Vec<u8>)> {
    let gif = make::gif();
    let start = make::gif_blocks(&gif);
    let last_control = gif.windows(3).rposition(|block| block == [0x21, 0xF9, 4]).unwrap();
    let mut flat = gif.clone();
    flat[6..8].fill(0);
    let frame = |left, width, picture: &[u8]| {
        let anim = make::riff_chunk(b"ANIM", &[0; 6]);
        make::riff(b"WEBP", &[make::vp8x(2, 33, 21), anim, make::webp_frame(left, width, 7, picture)])
    };
    let still = |chunks: &[Vec<u8>]| make::riff(b"WEBP", &[make::vp8x(0, 33, 21), chunks.concat()]);
    let mut long = make::webp();
    long[4] += 2;
    let mut delta = make::WEBP_LOSSY.to_owned();
    delta[20] |= 1;
    vec![
        ("a GIF that ends before its last frame", gif[..last_control + 8].to_owned()),
        ("a GIF that ends before the kind of an extension", gif[..=last_control].to_owned()),
        ("a GIF that ends in a control block", gif[..last_control + 4].to_owned()),
        ("a GIF of nothing", [&gif[..start], &[0x3B]].concat()),
        ("a GIF without a width", flat),
        ("a GIF with an unknown block", [&gif[..start], &[0x42], &gif[start..]].concat()),
        ("a GIF with a long control", make::gif_with(&[make::gif_extension(0xF9, &[&[0; 5]])])),
        ("a GIF with two controls in one", make::gif_with(&[make::gif_extension(0xF9, &[&[0; 4], &[0; 4]])])),
        ("a WebP of nothing", make::riff(b"WEBP", &[])),
        ("a WebP without a picture", still(&[])),
        ("a WebP with two pictures", still(&[make::vp8l(33, 21), make::vp8l(33, 21)])),
        ("a WebP of two sizes", still(&[make::vp8l(32, 21)])),
        ("a WebP longer than its file", long),
        ("a WebP of a frame that needs another", delta),
        ("a WebP with a frame but no animation", still(&[make::webp_frame(0, 9, 7, &make::vp8l(9, 7))])),
        ("a WebP with a frame that juts out", frame(30, 9, &make::vp8l(9, 7))),
        ("a WebP with a frame of two sizes", frame(0, 8, &make::vp8l(9, 7))),
        ("a WebP with an empty frame", frame(0, 9, &[])),
        (
            "a WebP with more in a frame",
            frame(0, 9, &[make::vp8l(9, 7), make::riff_chunk(b"evil", SECRET)].concat()),
        ),
        ("a WebP that begins with metadata", make::riff(b"WEBP", &[make::riff_chunk(b"EXIF", SECRET)])),
    ]
}

fn films() -> Vec<(&'static str, Vec<u8>)> {
    use super::videos::{
        cluster, ebml, ftyp, movie, mp4_box, mp4_with, open_element, picture_format, references,
        simple_track, track, tracks, webm_of,
    };
    let moov = movie(&[&simple_track()]);
    let outside = |flags, location: &[u8]| {
        movie(&[&track(b"vide", &picture_format(9, 9), &references(flags, location), 0, 0)])
    };
    let notes_at = |at| movie(&[&simple_track(), &track(b"text", &[], &[], at, 9)]);
    let mvex = mp4_box(b"mvex", &[]);
    let notes_in_fragments = movie(&[&simple_track(), &track(b"text", &[], &[], 0, 9), &mvex]);
    let cluster = cluster();
    vec![
        ("an MP4 without moov", mp4_with(&[], &[])),
        ("an MP4 with two", mp4_with(&moov, &moov)),
        ("an MP4 without mdat", [ftyp(b"isom"), moov.clone()].concat()),
        ("an MP4 without a track", mp4_with(&movie(&[]), &[])),
        ("an MP4 with a track of nothing", mp4_with(&movie(&[&mp4_box(b"trak", &[])]), &[])),
        ("an MP4 with half its data", mp4_with(&moov, b"\0\0\0\x40mdat and no more")),
        ("an MP4 that begins twice", mp4_with(&moov, &ftyp(b"isom"))),
        ("an MP4 with data that is too small", mp4_with(&moov, &[0, 0, 0, 7, b'm', b'd', b'a', b't'])),
        ("an MP4 that loads another file", mp4_with(&outside(0, b"http://127.0.0.1/\0"), &[])),
        ("an MP4 that hides that it does", mp4_with(&outside(1, b"http://127.0.0.1/\0"), &[])),
        ("an MP4 whose notes lie in its tables", mp4_with(&notes_at(30), &[])),
        ("an MP4 whose notes lie beyond", mp4_with(&notes_at(u32::MAX), &[])),
        ("an MP4 with notes in fragments", mp4_with(&notes_in_fragments, &mp4_box(b"moof", &[]))),
        ("a WebM without a segment", ebml(b"webm")),
        ("a WebM of nothing", webm_of(&[])),
        ("a WebM without tracks", webm_of(std::slice::from_ref(&cluster))),
        ("a WebM without a cluster", webm_of(&[tracks(1, b"V_VP8", 9)])),
        ("a WebM with subtitles", webm_of(&[tracks(17, b"V_VP8", 9), cluster.clone()])),
        ("a WebM with text in it", webm_of(&[tracks(1, b"V_VP8", 9), cluster.clone(), vec![0; 9]])),
        ("a WebM with an open element", webm_of(&[tracks(1, b"V_VP8", 9), cluster, open_element(0xEC, &[])])),
    ]
}

fn jpeg_frame(marker: u8, width: u16, height: u16) -> Vec<u8> {
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    make::jpeg_segment(marker, &[&[8], &h[..], &w, &[3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]].concat())
}

/// Files of unsupported formats.
pub fn unsupported() -> Vec<(&'static str, Vec<u8>)> {
    use super::videos::{SAMPLE, cluster, ebml, ftyp, mp4_box, simple_track, tracks, webm_of};
    let boxes =
        |brand| [ftyp(brand), videos::movie(&[&simple_track()]), mp4_box(b"mdat", &[SAMPLE])].concat();
    let mkv = [&ebml(b"matroska"), &videos::webm()[ebml(b"webm").len()..]].concat();
    let text = |text: &str| text.as_bytes().to_owned();
    vec![
        ("one byte", vec![0xFF]),
        ("a NUL", vec![0]),
        ("SVG", text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")),
        ("SVG with a prologue", text("<?xml version='1.0'?><!DOCTYPE svg><svg/>")),
        ("HTML", text("<!DOCTYPE html><script>alert(1)</script>")),
        ("XML", text("<?xml version='1.0'?><a/>")),
        ("plain text", text("hello")),
        ("a script", text("#!/bin/sh\nrm -rf /\n")),
        ("PHP", text("<?php system($_GET['c']);")),
        ("PDF", text("%PDF-1.7\n1 0 obj\n%%EOF")),
        ("ZIP", b"PK\x03\x04\x14\0\0\0\0\0".to_vec()),
        ("gzip", vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]),
        ("ELF", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0".to_vec()),
        ("EXE", b"MZ\x90\0\x03\0\0\0\x04\0\0\0".to_vec()),
        ("BMP", b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0".to_vec()),
        ("TIFF", b"II*\0\x08\0\0\0\0\0\0\0\0\0".to_vec()),
        ("ICO", vec![0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0]),
        ("AVI", make::riff(b"AVI ", &[make::riff_chunk(b"JUNK", b"")])),
        ("WAV", make::riff(b"WAVE", &[make::riff_chunk(b"fmt ", b"")])),
        ("WebP without RIFF", b"JUNK\x24\0\0\0WEBPVP8 ".to_vec()),
        ("MP3", b"ID3\x03\0\0\0\0\0\0\0\0".to_vec()),
        ("GIF of another version", b"GIF88a\x01\0\x01\0\0\0\0;".to_vec()),
        ("HEIC", boxes(b"heic")),
        ("HEIF", boxes(b"mif1")),
        ("AVIF", boxes(b"avif")),
        ("M4A", boxes(b"M4A ")),
        ("MKV", mkv),
        ("MKV that says WebM", webm_of(&[tracks(1, b"V_MPEG4/ISO/AVC", 9), cluster()])),
    ]
}

/// Files with too many pixels.
pub fn too_large() -> Vec<(&'static str, Vec<u8>)> {
    use super::videos::{cluster, movie, mp4_with, picture_format, references, track, tracks, webm_of};
    let mut gif = make::gif();
    gif[6..10].fill(0xFF);
    let mut gif_frame = make::gif();
    let frame = make::gif_blocks(&gif_frame)
        + gif_frame[make::gif_blocks(&gif_frame)..].iter().position(|&byte| byte == 0x2C).unwrap();
    gif_frame[frame + 5..frame + 9].fill(0xFF);
    let mut vp8 = make::WEBP_LOSSY.to_owned();
    vp8[26..30].fill(0x3F);
    let wide = movie(&[&track(b"vide", &picture_format(60_000, 60_000), &references(1, &[]), 0, 0)]);
    vec![
        ("a PNG of 60,000 by 60,000", [&make::png_header(60_000, 60_000), &make::png()[33..]].concat()),
        (
            "a PNG of the largest numbers",
            [&make::png_header(u32::MAX, u32::MAX), &make::png()[33..]].concat(),
        ),
        ("a JPEG of 65,535 by 65,535", make::jpeg_with(&[jpeg_frame(0xC2, 65_535, 65_535)])),
        ("a GIF of 65,535 by 65,535", gif),
        ("a GIF with a frame of that size", gif_frame),
        ("a WebP of 16,191 by 16,191", vp8),
        ("a WebP of 2^24 by 2^24", make::riff(b"WEBP", &[make::vp8x(0, 1 << 24, 1 << 24), make::vp8l(9, 9)])),
        ("an MP4 of 60,000 by 60,000", mp4_with(&wide, &[])),
        ("a WebM of 60,000 by 28,672", webm_of(&[tracks(1, b"V_VP9", 60_000), cluster()])),
    ]
}
