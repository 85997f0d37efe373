//! The boxes of an MP4 (ISO/IEC 14496-12, section 4.2).

use crate::{
    error::{Error, TRUNCATED},
    source::Source,
};

pub(crate) const INCOMPLETE_BOX: Error = Error::Malformed("a box of the MP4 is not whole");

/// The header of a box (`box` is a keyword).
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) kind: [u8; 4],
    pub(crate) start: u64,
    pub(crate) body: u64,
    pub(crate) end: u64,
}

/// Reads the header of a box. Only the last box of a file may have no size.
pub(crate) fn read(source: &mut Source, end: u64) -> Result<Part, Error> {
    source.count_part()?;
    let start = source.position();
    let room = end.checked_sub(start).ok_or(INCOMPLETE_BOX)?;
    if room < 8 {
        return Err(TRUNCATED);
    }
    let (size, kind) = (source.u32_be()?, source.array()?);
    let size = match size {
        0 if end == source.length() => room,
        1 => u64::from_be_bytes(source.array()?),
        size => u64::from(size),
    };
    let body = source.position();
    if size < body - start {
        return Err(INCOMPLETE_BOX);
    }
    if size > room { Err(TRUNCATED) } else { Ok(Part { kind, start, body, end: start + size }) }
}

/// Returns whether a box reaches beyond its parent, or is too short for its header.
pub(crate) fn is_incomplete(error: &Error) -> bool {
    let is_box =
        |message: &str| matches!(INCOMPLETE_BOX, Error::Malformed(incomplete) if incomplete == message);
    error.is_truncation() || matches!(error, Error::Malformed(message) if is_box(message))
}

/// Finds the first child of a box with this type.
pub(crate) fn find(source: &mut Source, parent: &Part, kind: [u8; 4]) -> Result<Option<Part>, Error> {
    source.seek(parent.body)?;
    while source.position() < parent.end {
        let part = read(source, parent.end)?;
        if part.kind == kind {
            return Ok(Some(part));
        }
        source.seek(part.end)?;
    }
    Ok(None)
}
