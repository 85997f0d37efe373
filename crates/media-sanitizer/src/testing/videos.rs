//! Videos, assembled box by box and element by element. Their samples are placeholders.

use super::SECRET;

/// Placeholder for compressed video and audio.
pub const SAMPLE: &[u8] = b"a compressed picture that must stay as it is";

pub fn mp4_box(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(8 + body.len()).unwrap().to_be_bytes()[..], kind, &body].concat()
}

pub fn ftyp(major: &[u8; 4]) -> Vec<u8> {
    mp4_box(b"ftyp", &[major, &[0, 0, 2, 0], b"isom", b"mp41"])
}

pub fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub fn handler(kind: &[u8; 4]) -> Vec<u8> {
    mp4_box(b"hdlr", &[&[0; 8], kind, &[0; 12], SECRET, &[0]])
}

/// A video format with these dimensions.
pub fn picture_format(width: u16, height: u16) -> Vec<u8> {
    let format = mp4_box(
        b"avc1",
        &[&[0; 6], &[0, 1], &[0; 16], &width.to_be_bytes(), &height.to_be_bytes(), &[0; 50]],
    );
    mp4_box(b"stsd", &[&numbers(&[0, 1]), &format])
}

pub fn references(flags: u32, location: &[u8]) -> Vec<u8> {
    let url = mp4_box(b"url ", &[&numbers(&[flags]), location]);
    mp4_box(b"dinf", &[&mp4_box(b"dref", &[&numbers(&[0, 1]), &url])])
}

/// A track with one chunk of one sample.
pub fn track(kind: &[u8; 4], format: &[u8], dinf: &[u8], sample_at: u32, length: u32) -> Vec<u8> {
    let samples = mp4_box(
        b"stbl",
        &[
            format,
            &mp4_box(b"stts", &[&numbers(&[0, 1, 1, 1000])]),
            &mp4_box(b"stsc", &[&numbers(&[0, 1, 1, 1, 1])]),
            &mp4_box(b"stsz", &[&numbers(&[0, 0, 1, length])]),
            &mp4_box(b"stco", &[&numbers(&[0, 1, sample_at])]),
        ],
    );
    let information = mp4_box(b"minf", &[&mp4_box(b"vmhd", &[&[0; 12]]), dinf, &samples]);
    let media = mp4_box(b"mdia", &[&mp4_box(b"mdhd", &[&dated()]), &handler(kind), &information]);
    mp4_box(
        b"trak",
        &[
            &mp4_box(b"tkhd", &[&dated(), &[0; 60]]),
            &mp4_box(b"udta", &[SECRET]),
            &mp4_box(b"meta", &[SECRET]),
            &media,
        ],
    )
}

/// A header's version, its times of creation and change, and what follows them.
fn dated() -> Vec<u8> {
    numbers(&[0, 0xDA7E_DA7E, 0xDA7E_DA7E, 1, 1000, 1000])
}

pub fn movie(parts: &[&[u8]]) -> Vec<u8> {
    mp4_box(b"moov", &[&mp4_box(b"mvhd", &[&dated(), &[0; 76]]), &parts.concat()])
}

/// A video with a location everywhere cameras write one, also in a track of its own.
pub fn mp4() -> Vec<u8> {
    let head = [ftyp(b"mp42"), mp4_box(b"uuid", &[&[7; 16], SECRET]), mp4_box(b"free", &[SECRET])].concat();
    let sample_at = u32::try_from(head.len() + 8).unwrap();
    let length = u32::try_from(SAMPLE.len()).unwrap();
    let secrets = u32::try_from(SECRET.len()).unwrap();
    let inside = references(1, &[]);
    let moov = movie(&[
        &track(b"vide", &picture_format(640, 480), &inside, sample_at, length),
        &track(b"meta", &mp4_box(b"stsd", &[&numbers(&[0, 0])]), &inside, sample_at + length, secrets),
        &mp4_box(b"udta", &[&mp4_box(b"\xa9xyz", &[&[0, 18, 0x15, 0xC7], SECRET])]),
        &mp4_box(b"meta", &[SECRET]),
        &mp4_box(b"gps ", &[SECRET]),
    ]);
    [&head[..], &mp4_box(b"mdat", &[SAMPLE, SECRET]), &moov, &mp4_box(b"meta", &[SECRET])].concat()
}

/// A minimal MP4 followed by these boxes.
pub fn mp4_with(moov: &[u8], rest: &[u8]) -> Vec<u8> {
    [&ftyp(b"isom"), moov, &mp4_box(b"mdat", &[SAMPLE]), rest].concat()
}

pub fn simple_track() -> Vec<u8> {
    track(b"vide", &picture_format(640, 480), &references(1, &[]), 0, 0)
}

/// A fragmented MP4 whose last box has no size.
pub fn mp4_fragmented() -> Vec<u8> {
    let trex = mp4_box(b"trex", &[&numbers(&[0, 1, 1, 0, 0, 0])]);
    let moov = movie(&[&simple_track(), &mp4_box(b"mvex", &[&trex])]);
    let traf =
        mp4_box(b"traf", &[&mp4_box(b"tfhd", &[&numbers(&[0, 1])]), &mp4_box(b"uuid", &[&[7; 16], SECRET])]);
    let moof = mp4_box(b"moof", &[&mp4_box(b"mfhd", &[&numbers(&[0, 1])]), &traf]);
    let mut mdat = mp4_box(b"mdat", &[SAMPLE]);
    mdat[..4].fill(0);
    [ftyp(b"iso6"), moov, mp4_box(b"sidx", &[&[0; 24]]), moof, mp4_box(b"emsg", &[SECRET]), mdat].concat()
}

/// An EBML element with the shortest length encoding.
pub fn element(id: u32, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let size = match body.len() {
        length @ 0..=126 => vec![0x80 | u8::try_from(length).unwrap()],
        length => [&[0x10], &u32::try_from(length).unwrap().to_be_bytes()[1..]].concat(),
    };
    [&identifier(id)[..], &size, &body].concat()
}

/// An EBML element of unknown length.
pub fn open_element(id: u32, parts: &[&[u8]]) -> Vec<u8> {
    [&identifier(id)[..], &[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], &parts.concat()].concat()
}

fn identifier(id: u32) -> Vec<u8> {
    id.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect()
}

pub fn ebml(doc_type: &[u8]) -> Vec<u8> {
    element(
        0x1A45_DFA3,
        &[
            &element(0x4286, &[&[1]]),
            &element(0x42F7, &[&[1]]),
            &element(0x42F2, &[&[4]]),
            &element(0x42F3, &[&[8]]),
            &element(0x4282, &[doc_type]),
            &element(0xEC, &[SECRET]),
            &element(0x4287, &[&[4]]),
            &element(0x4285, &[&[2]]),
        ],
    )
}

pub fn tracks(kind: u8, codec: &[u8], width: u16) -> Vec<u8> {
    let video = element(0xE0, &[&element(0xB0, &[&width.to_be_bytes()]), &element(0xBA, &[&[0x70, 0x00]])]);
    let entry = element(
        0xAE,
        &[
            &element(0xD7, &[&[1]]),
            &element(0x73C5, &[&[1]]),
            &element(0x83, &[&[kind]]),
            &element(0x536E, &[SECRET]),
            &element(0x86, &[codec]),
            &video,
        ],
    );
    element(0x1654_AE6B, &[&entry])
}

fn information() -> Vec<u8> {
    element(
        0x1549_A966,
        &[
            &element(0xBF, &[&[1, 2, 3, 4]]),
            &element(0x2A_D7B1, &[&[0x0F, 0x42, 0x40]]),
            &element(0x7BA9, &[SECRET]),
            &element(0x4461, &[&[0xDA, 0x7E, 0xDA, 0x7E, 0, 0, 0, 0]]),
            &element(0x4D80, &[SECRET]),
            &element(0x5741, &[SECRET]),
        ],
    )
}

/// The children of a segment, with a location in every text.
fn segment_parts() -> Vec<u8> {
    let seek =
        |id: u32| element(0x4DBB, &[&element(0x53AB, &[&id.to_be_bytes()]), &element(0x53AC, &[&[0, 40]])]);
    let long = SECRET.repeat(9);
    [
        element(0x114D_9B74, &[&seek(0x1549_A966), &seek(0x1254_C367)]),
        information(),
        tracks(1, b"V_VP9", 640),
        element(0x1254_C367, &[&element(0x7373, &[&long])]),
        element(0x1941_A469, &[SECRET]),
        element(0xEC, &[SECRET]),
    ]
    .concat()
}

fn cluster_parts() -> Vec<u8> {
    let group = element(0xA0, &[&element(0xA1, &[&[0x81, 0, 1, 0], SAMPLE]), &element(0x9B, &[&[1]])]);
    [element(0xE7, &[&[0]]), element(0xA3, &[&[0x81, 0, 0, 0x80], SAMPLE]), element(0xEC, &[SECRET]), group]
        .concat()
}

/// A `WebM` as a program writes it to a file.
pub fn webm() -> Vec<u8> {
    let cluster = element(0x1F43_B675, &[&cluster_parts()]);
    let cues = element(0x1C53_BB6B, &[&element(0xBB, &[&element(0xB3, &[&[0]])])]);
    let segment =
        element(0x1853_8067, &[&segment_parts(), &cluster, &cues, &element(0x1254_C367, &[SECRET])]);
    [ebml(b"webm"), segment].concat()
}

/// A `WebM` as a browser records it, of unknown length.
pub fn webm_live() -> Vec<u8> {
    let cluster = open_element(0x1F43_B675, &[&cluster_parts()]);
    let segment = open_element(0x1853_8067, &[&segment_parts(), &cluster, &cluster]);
    [ebml(b"webm\0\0"), segment].concat()
}

pub fn webm_of(parts: &[Vec<u8>]) -> Vec<u8> {
    [ebml(b"webm"), element(0x1853_8067, &[&parts.concat()])].concat()
}

pub fn cluster() -> Vec<u8> {
    element(0x1F43_B675, &[&cluster_parts()])
}

/// Sound of `QuickTime`'s version 1, whose decoder is configured in a box of its own.
pub fn quicktime_sound() -> Vec<u8> {
    let wave = mp4_box(b"wave", &[&mp4_box(b"frma", &[b"mp4a"]), &esds(), &mp4_box(b"\0\0\0\0", &[])]);
    let fields = [&[0, 1, 0, 0][..], b"appl", &[0, 2, 0, 16, 0xFF, 0xFE, 0, 0, 0xAC, 0x44, 0, 0], &[0; 16]];
    let format =
        mp4_box(b"mp4a", &[&[0; 6], &[0, 1], &fields.concat(), &wave, &mp4_box(b"chan", &[&[0; 12]])]);
    mp4_box(b"stsd", &[&numbers(&[0, 1]), &format, &[0; 4]])
}

/// The configuration of a sound decoder.
pub fn esds() -> Vec<u8> {
    mp4_box(
        b"esds",
        &[&[0; 4], b"\x03\x19\0\x02\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x12\x08\x06\x01\x02"],
    )
}

/// A video as phones record it: `QuickTime` with picture, sound and a track of locations.
pub fn quicktime() -> Vec<u8> {
    let head = [mp4_box(b"ftyp", &[b"qt  ", &[0; 4], b"qt  "]), mp4_box(b"wide", &[])].concat();
    let sample_at = u32::try_from(head.len() + 8).unwrap();
    let (length, secrets) = (u32::try_from(SAMPLE.len()).unwrap(), u32::try_from(SECRET.len()).unwrap());
    let alias = mp4_box(b"alis", &[&numbers(&[1])]);
    let inside = mp4_box(b"dinf", &[&mp4_box(b"dref", &[&numbers(&[0, 1]), &alias])]);
    let moov = movie(&[
        &track(b"vide", &picture_format(640, 480), &inside, sample_at, length),
        &track(b"soun", &quicktime_sound(), &inside, sample_at, length),
        &track(b"meta", &mp4_box(b"stsd", &[&numbers(&[0, 0])]), &inside, sample_at + length, secrets),
        &mp4_box(b"meta", &[SECRET]),
    ]);
    [&head[..], &mp4_box(b"mdat", &[SAMPLE, SECRET]), &moov].concat()
}

/// A `WebM` with subtitles in a track of their own, in simple blocks, in groups of blocks, and in the index.
pub fn webm_with_subtitles() -> Vec<u8> {
    let entry = |number: u8, kind: u8, codec: &[u8]| {
        let video = element(0xE0, &[&element(0xB0, &[&[40]]), &element(0xBA, &[&[30]])]);
        let parts =
            [element(0xD7, &[&[number]]), element(0x83, &[&[kind]]), element(0x86, &[codec])].concat();
        element(0xAE, &[&parts, if kind == 1 { &video } else { &[] }])
    };
    let tracks = element(0x1654_AE6B, &[&entry(1, 1, b"V_VP9"), &entry(2, 17, b"S_TEXT/UTF8")]);
    let cue = |tracks: &[u8]| {
        let positions = tracks.iter().flat_map(|&track| element(0xB7, &[&element(0xF7, &[&[track]])]));
        element(0xBB, &[&element(0xB3, &[&[0]]), &positions.collect::<Vec<_>>()])
    };
    let cues = element(0x1C53_BB6B, &[&cue(&[1]), &cue(&[2]), &cue(&[1, 2])]);
    let subtitles = [
        element(0xA3, &[&[0x82, 0, 0, 0x80], SECRET]),
        element(0xA0, &[&element(0xA1, &[&[0x82, 0, 0, 0], SECRET]), &element(0x9B, &[&[9]])]),
    ];
    let cluster = element(0x1F43_B675, &[&cluster_parts(), &subtitles.concat()]);
    webm_of(&[tracks, cues.clone(), cluster.clone(), cluster, cues])
}
