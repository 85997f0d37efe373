//! The orientation in Exif metadata, the only entry that showing an image needs.

const LITTLE_ENDIAN: &[u8] = b"II*\0";
const BIG_ENDIAN: &[u8] = b"MM\0*";
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;

/// Returns the orientation in the first directory of a TIFF structure (Exif 3.0, section 4.6.4): 2 to 8. `None` if it has
/// none or the normal one.
pub(crate) fn orientation(tiff: &[u8]) -> Option<u8> {
    // Some WebP files have JPEG's prefix.
    let tiff = tiff.strip_prefix(b"Exif\0\0").unwrap_or(tiff);
    let is_little = match tiff.get(..4)? {
        LITTLE_ENDIAN => true,
        BIG_ENDIAN => false,
        _ => return None,
    };
    let to_u16 = |bytes| if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
    let bytes = *tiff.get(4..)?.first_chunk()?;
    let directory = if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
    let directory = usize::try_from(directory).ok()?;
    let (count, entries) = tiff.get(directory..)?.split_first_chunk()?;
    // The file may announce more entries than it has.
    let mut entries = entries.as_chunks::<12>().0.iter().take(usize::from(to_u16(*count)));
    let entry = entries.find(|entry| to_u16([entry[0], entry[1]]) == ORIENTATION)?;
    if to_u16([entry[2], entry[3]]) != SHORT {
        return None;
    }
    u8::try_from(to_u16([entry[8], entry[9]])).ok().filter(|value| (2..=8).contains(value))
}

/// Returns a TIFF structure that contains only an orientation.
pub(crate) fn only_orientation(value: u8) -> [u8; 26] {
    #[rustfmt::skip]
    let tiff = [
        b'M', b'M', 0, b'*', 0, 0, 0, 8, // offset of the directory: 8
        0, 1, // one entry
        0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, // orientation, one short
        0, 0, 0, 0, // no further directory
    ];
    tiff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for value in 2..=8 {
            assert_eq!(orientation(&only_orientation(value)), Some(value));
        }
    }

    #[test]
    fn the_ordinary_orientation_and_nonsense_are_none() {
        for value in [0, 1, 9, 255] {
            assert_eq!(orientation(&only_orientation(value)), None);
        }
        let whole = only_orientation(6);
        for end in 0..20 {
            assert_eq!(orientation(&whole[..end]), None, "{end}");
        }
        let mut far = whole;
        far[4..8].fill(0xFF);
        assert_eq!(orientation(&far), None);
    }
}
