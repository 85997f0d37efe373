use super::{make, videos, *};

type Make = fn() -> Vec<u8>;

const KINDS: [(Format, Make); 6] = [
    (Format::Jpeg, make::jpeg),
    (Format::Png, make::png),
    (Format::Gif, make::gif),
    (Format::Webp, make::webp),
    (Format::Mp4, videos::mp4),
    (Format::Webm, videos::webm),
];

/// A photo must have lost its secret, and nothing else that shows.
fn assert_same_but_clean(kind: Format, file: &[u8], orientation: Orientation) {
    assert!(contains(file, &SECRET[..17]), "the file to be cleaned has a secret");
    let cleaned = clean(kind, file);
    assert!(!contains(&cleaned, &SECRET[..17]), "the secret is gone from the {kind:?}");
    assert!(decode(&cleaned) == decode(file), "the pixels are the same");
    let (was, profile) = shown_as(file);
    assert_eq!(was, orientation);
    assert_eq!(shown_as(&cleaned), (orientation, profile));
}

#[test]
fn formats_are_detected_by_content() {
    for (kind, make) in KINDS {
        clean(kind, &make());
    }
}

#[test]
fn plain_images_keep_their_pixels() {
    for (kind, make) in &KINDS[..4] {
        assert!(decode(&clean(*kind, &make())) == decode(&make()), "{kind:?}");
    }
}

#[test]
fn jpeg_of_a_phone_loses_its_location_and_keeps_orientation_and_colors() {
    for is_little in [true, false] {
        let file = make::jpeg_of_a_phone(6, is_little);
        assert_same_but_clean(Format::Jpeg, &file, Orientation::Rotate90);
        assert_eq!(shown_as(&clean(Format::Jpeg, &file)).1, Some(make::profile()));
    }
}

#[test]
fn jpeg_keeps_every_orientation() {
    for value in 1..=8 {
        let orientation = Orientation::from_exif(value).unwrap();
        assert_same_but_clean(Format::Jpeg, &make::jpeg_of_a_phone(value, true), orientation);
    }
}

#[test]
fn jpeg_with_normal_orientation_loses_its_exif() {
    assert!(!contains(&clean(Format::Jpeg, &make::jpeg_of_a_phone(1, true)), b"Exif"));
}

#[test]
fn jpeg_thumbnail_is_removed() {
    let jfif = [b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x01", &SECRET[..3]].concat();
    let jpeg = make::jpeg();
    assert_eq!(&jpeg[2..4], [0xFF, 0xE0]);
    let rest = 4 + usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
    let file = [&jpeg[..2], &make::jpeg_segment(0xE0, &jfif), &jpeg[rest..]].concat();
    let cleaned = clean(Format::Jpeg, &file);
    assert!(contains(&cleaned, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0\xFF"));
    assert!(decode(&cleaned) == decode(&file));
}

#[test]
fn jpeg_color_segment_is_kept_without_trailing_data() {
    let adobe = [b"Adobe\0\x64\0\0\0\0\x01", SECRET].concat();
    let file = make::jpeg_with(&[make::jpeg_segment(0xEE, &adobe)]);
    let cleaned = clean(Format::Jpeg, &file);
    assert!(contains(&cleaned, b"Adobe\0\x64\0\0\0\0\x01\xFF"));
    assert!(decode(&cleaned) == decode(&file));
}

#[test]
fn jpeg_invalid_color_profile_is_removed() {
    let file =
        make::jpeg_with(&[make::jpeg_segment(0xE2, &[b"ICC_PROFILE\0\x01\x01", SECRET, SECRET].concat())]);
    assert!(!contains(&clean(Format::Jpeg, &file), b"ICC_PROFILE"));
}

#[test]
fn png_of_a_phone_loses_its_location_and_keeps_orientation_and_colors() {
    let file = make::png_of_a_phone(6);
    assert_same_but_clean(Format::Png, &file, Orientation::Rotate90);
    let cleaned = clean(Format::Png, &file);
    assert_eq!(shown_as(&cleaned).1, Some(make::profile()));
    let kinds: Vec<_> = make::png_chunks(&cleaned).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [b"IHDR", b"gAMA", b"iCCP", b"eXIf", b"IDAT", b"IEND"].map(|kind| *kind));
}

#[test]
fn png_keeps_its_palette() {
    let file = make::png_of_a_palette();
    assert!(clean(Format::Png, &file) == file);
    assert_eq!(decode(&file).to_rgba8().as_raw(), &[4, 5, 6, 100]);
}

#[test]
fn webp_of_a_phone_loses_its_location_and_keeps_orientation_and_colors() {
    let file = make::webp_of_a_phone(6);
    assert_same_but_clean(Format::Webp, &file, Orientation::Rotate90);
    let cleaned = clean(Format::Webp, &file);
    assert_eq!(shown_as(&cleaned).1, Some(make::profile()));
    assert!(!contains(&cleaned, b"XMP ") && !contains(&cleaned, b"whaT"));
    assert_eq!(cleaned[20], 0x28, "the header does not announce the profile and Exif");
    assert!(!contains(&clean(Format::Webp, &make::webp_of_a_phone(1)), b"EXIF"));
}

#[test]
fn webp_with_a_jpeg_exif_prefix_keeps_its_orientation() {
    let exif = [b"Exif\0\0", &make::exif(8, true)[..]].concat();
    let file =
        make::riff(b"WEBP", &[make::vp8x(8, 33, 21), make::vp8l(33, 21), make::riff_chunk(b"EXIF", &exif)]);
    assert_eq!(shown_as(&clean(Format::Webp, &file)).0, Orientation::Rotate270);
}

#[test]
fn a_lossy_webp_is_accepted() {
    assert!(clean(Format::Webp, make::WEBP_LOSSY) == make::WEBP_LOSSY);
    decode(make::WEBP_LOSSY);
}

#[test]
fn animations_keep_their_frames_and_lose_their_comments() {
    let animations = [
        (Format::Gif, make::gif_of_a_talker(), 3),
        (Format::Png, make::png_animated(), 2),
        (Format::Webp, make::webp_animated(), 2),
    ];
    for (kind, file, count) in animations {
        assert!(contains(&file, SECRET));
        let cleaned = clean(kind, &file);
        assert!(!contains(&cleaned, SECRET), "{kind:?}");
        assert_eq!(frames(kind, &file).len(), count);
        assert!(frames(kind, &cleaned) == frames(kind, &file), "{kind:?}");
    }
}

#[test]
fn gif_keeps_its_repeat_count() {
    let cleaned = clean(Format::Gif, &make::gif_of_a_talker());
    assert!(contains(&cleaned, b"NETSCAPE2.0\x03\x01\0\0\0"));
    assert!(contains(&cleaned, b"ANIMEXTS1.0\x03\x01\0\0\0"));
    assert!(!contains(&cleaned, b"XMP"));
}

#[test]
fn gif_unknown_extension_is_removed() {
    let file = make::gif_with(&[make::gif_extension(0x99, &[SECRET])]);
    assert!(clean(Format::Gif, &file) == clean(Format::Gif, &make::gif()));
}

#[test]
fn mp4_loses_every_location_and_keeps_its_samples() {
    let film = videos::mp4();
    let cleaned = clean(Format::Mp4, &film);
    assert_eq!(cleaned.len(), film.len());
    assert!(contains(&film, SECRET) && !contains(&cleaned, SECRET));
    for gone in [b"udta", b"\xa9xyz", b"uuid", b"meta", b"gps ", b"\xda\x7e\xda\x7e"] {
        assert!(contains(&film, gone) && !contains(&cleaned, gone), "{gone:?}");
    }
    // The positions in its tables are right as they are.
    let sample = |file: &[u8]| file.windows(videos::SAMPLE.len()).position(|part| part == videos::SAMPLE);
    assert!(sample(&film).is_some() && sample(&cleaned) == sample(&film));
}

#[test]
fn fragmented_mp4_is_accepted() {
    let cleaned = clean(Format::Mp4, &videos::mp4_fragmented());
    assert!(contains(&cleaned, videos::SAMPLE) && !contains(&cleaned, SECRET));
}

#[test]
fn webm_loses_its_texts_and_keeps_its_blocks() {
    for film in [videos::webm(), videos::webm_live()] {
        let cleaned = clean(Format::Webm, &film);
        assert_eq!(cleaned.len(), film.len());
        assert!(contains(&film, SECRET) && !contains(&cleaned, &SECRET[..17]));
        assert!(!contains(&cleaned, b"\xda\x7e\xda\x7e"), "it still contains its creation time");
        assert!(!contains(&cleaned, &[0x12, 0x54, 0xC3, 0x67]), "it still points to its tags");
        let samples =
            |file: &[u8]| file.windows(videos::SAMPLE.len()).filter(|part| *part == videos::SAMPLE).count();
        assert!(samples(&film) > 0 && samples(&cleaned) == samples(&film));
    }
}

#[test]
fn file_of_the_maximum_size_is_accepted() {
    for (kind, make) in KINDS {
        let length = make().len() as u64;
        let limits = Limits { image_bytes: length, video_bytes: length, ..Limits::default() };
        assert_eq!(inspect(&make(), limits).unwrap().0.format, kind);
    }
}

#[test]
fn concurrent_files_wait_for_a_permit() {
    let directory = tempfile::tempdir().unwrap();
    let sanitizer = Sanitizer::new(Limits::default(), 2);
    let paths: Vec<_> = (0..20).map(|number| directory.path().join(number.to_string())).collect();
    run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for path in paths {
            fs::write(&path, make::jpeg_of_a_phone(6, true)).unwrap();
            let sanitizer = sanitizer.clone();
            tasks.spawn(async move { sanitizer.sanitize(&path).await.map(|file| file.format) });
        }
        let kinds = tasks.join_all().await;
        assert!(kinds.iter().all(|kind| *kind.as_ref().unwrap() == Format::Jpeg) && kinds.len() == 20);
    });
    assert_eq!(names_in(directory.path()).len(), 20);
}

#[test]
fn dropped_future_leaves_no_temporary_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upload");
    let file = make::jpeg_of_a_phone(6, true);
    for _ in 0..20 {
        fs::write(&path, &file).unwrap();
        // The runtime's end waits for the work that had begun.
        run(async {
            let sanitizer = Sanitizer::new(Limits::default(), 1);
            let mut sanitizing = Box::pin(sanitizer.sanitize(&path));
            let polled = poll_once(sanitizing.as_mut()).await;
            drop(sanitizing);
            if polled.is_none() {
                fs::remove_file(&path).unwrap();
            }
        });
        assert!(names_in(directory.path()).iter().all(|name| name == "upload"));
    }
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}
