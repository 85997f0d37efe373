//! The sample tables of an MP4 track (ISO/IEC 14496-12, sections 8.7.3 to 8.7.5).

use std::ops::Range;

use super::mp4_boxes::{Part, find};
use crate::{error::Error, source::Source};

/// Maximum size of a table. A metadata track for an hour of video takes a few hundred KiB.
const MAX_TABLE_BYTES: u64 = 4 << 20;

const NOT_RIGHT: Error = Error::Malformed("a sample table of the MP4 is not right");

/// Returns the ranges of the chunks of a track, given its sample table.
pub(crate) fn chunks(source: &mut Source, samples: &Part) -> Result<Vec<Range<u64>>, Error> {
    let offsets = offsets(source, samples)?;
    if offsets.is_empty() {
        return Ok(Vec::new());
    }
    let sizes = table(source, samples, *b"stsz")?.ok_or(NOT_RIGHT)?;
    let (&size_of_all, sizes) = sizes.split_first().ok_or(NOT_RIGHT)?;
    // If samples differ in size, their number and their sizes follow.
    let mut sizes = sizes.iter().skip(1).map(|&size| u64::from(size));
    let runs = table(source, samples, *b"stsc")?.ok_or(NOT_RIGHT)?;
    // First chunk, samples per chunk, sample format.
    let runs: Vec<[u32; 3]> = runs.get(1..).ok_or(NOT_RIGHT)?.as_chunks().0.to_owned();
    let mut chunks = Vec::with_capacity(offsets.len());
    let mut run = 0;
    for (number, start) in (1..).zip(offsets) {
        while runs.get(run + 1).is_some_and(|next| next[0] <= number) {
            run += 1;
        }
        let count = runs.get(run).ok_or(NOT_RIGHT)?[1];
        let length = match size_of_all {
            0 => sizes.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX)).sum(),
            size => u64::from(size) * u64::from(count),
        };
        let end = start.checked_add(length).ok_or(NOT_RIGHT)?;
        chunks.push(start..end);
    }
    Ok(chunks)
}

fn offsets(source: &mut Source, samples: &Part) -> Result<Vec<u64>, Error> {
    if let Some(short) = table(source, samples, *b"stco")? {
        return Ok(short.into_iter().skip(1).map(u64::from).collect());
    }
    let long = table(source, samples, *b"co64")?.unwrap_or_default();
    let pairs = long.get(1..).unwrap_or_default().as_chunks().0;
    Ok(pairs.iter().map(|&[high, low]| u64::from(high) << 32 | u64::from(low)).collect())
}

/// Returns the numbers of a table after its version.
fn table(source: &mut Source, samples: &Part, kind: [u8; 4]) -> Result<Option<Vec<u32>>, Error> {
    let Some(part) = find(source, samples, kind)? else { return Ok(None) };
    let length = part.end - part.body;
    if !(4..=MAX_TABLE_BYTES).contains(&length) {
        return Err(NOT_RIGHT);
    }
    source.seek(part.body + 4)?;
    let bytes = source.bytes(length - 4)?;
    Ok(Some(bytes.as_chunks().0.iter().map(|&number| u32::from_be_bytes(number)).collect()))
}
