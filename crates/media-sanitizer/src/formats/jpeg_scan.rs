//! Where the compressed data of a JPEG ends, for files without an end of image.
//!
//! The data of a scan has no length; it goes up to the next marker. In a file without one, whatever follows the picture
//! would pass for more of it. So the codes of such a scan are read, without computing pixels, until the last block.

use crate::{
    error::{Error, TRUNCATED},
    source::Source,
};

const BROKEN: Error = Error::Malformed("the data of a JPEG scan is broken");

/// Number of bits of the longest code.
const MAX_CODE_LENGTH: u32 = 16;

/// What the segments before a scan say of it.
#[derive(Default)]
pub(crate) struct Layout {
    width: u64,
    height: u64,
    components: Vec<Component>,
    /// Definitions of the Huffman tables in effect: those of DC and then those of AC coefficients.
    tables: [Vec<u8>; 8],
    /// Number of units between two restart markers, or zero.
    restart_interval: u64,
}

#[derive(Clone, Copy)]
struct Component {
    id: u8,
    /// Sampling factors.
    across: u64,
    down: u64,
}

impl Layout {
    /// Reads the dimensions and components of a frame that has been checked.
    pub(crate) fn set_frame(&mut self, segment: &[u8]) {
        let [_, height_1, height_0, width_1, width_0, _, components @ ..] = segment else { return };
        self.width = u64::from(u16::from_be_bytes([*width_1, *width_0]));
        self.height = u64::from(u16::from_be_bytes([*height_1, *height_0]));
        let component = |&[id, sampling, _]: &[u8; 3]| Component {
            id,
            across: u64::from(sampling >> 4).max(1),
            down: u64::from(sampling & 15).max(1),
        };
        self.components = components.as_chunks().0.iter().map(component).collect();
    }

    pub(crate) fn set_restart_interval(&mut self, segment: &[u8]) {
        if let [high, low] = *segment {
            self.restart_interval = u64::from(u16::from_be_bytes([high, low]));
        }
    }

    /// Reads Huffman tables.
    pub(crate) fn set_tables(&mut self, mut segment: &[u8]) -> Result<(), Error> {
        const NOT_WHOLE: Error = Error::Malformed("a JPEG Huffman table is not whole");
        while let Some((&place, rest)) = segment.split_first() {
            let counts = rest.get(..16).ok_or(NOT_WHOLE)?;
            let length = 16 + counts.iter().map(|&count| usize::from(count)).sum::<usize>();
            let (table, rest) = rest.split_at_checked(length).ok_or(NOT_WHOLE)?;
            if place & 0xEC == 0 {
                table.clone_into(&mut self.tables[usize::from(((place >> 4) << 2) | (place & 3))]);
            }
            segment = rest;
        }
        Ok(())
    }

    /// Returns the number of bytes that the blocks of a sequential scan take, given its header.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the file has not all of them.
    pub(crate) fn scan_length(&self, source: &mut Source, header: &[u8]) -> Result<u64, Error> {
        let start = source.position();
        let selectors = header.get(1..header.len().saturating_sub(3)).ok_or(BROKEN)?.as_chunks::<2>().0;
        let mut blocks = Vec::new();
        let mut first = None;
        for &[id, tables] in selectors {
            let component = *self.components.iter().find(|component| component.id == id).ok_or(BROKEN)?;
            let dc = Table::new(&self.tables[usize::from(tables >> 4 & 3)])?;
            let ac = Table::new(&self.tables[4 + usize::from(tables & 3)])?;
            let count = if selectors.len() == 1 { 1 } else { component.across * component.down };
            first.get_or_insert(component);
            blocks.push((count, dc, ac));
        }
        let first = first.ok_or(BROKEN)?;
        let units = if selectors.len() == 1 { self.blocks_of(first) } else { self.interleaved_units() };
        let mut bits = Bits::new(source);
        for unit in 0..units {
            if self.restart_interval > 0 && unit > 0 && unit.is_multiple_of(self.restart_interval) {
                bits.restart()?;
            }
            for (count, dc, ac) in &blocks {
                for _ in 0..*count {
                    bits.skip_block(dc, ac)?;
                }
            }
        }
        Ok(bits.end()? - start)
    }

    fn max_sampling(&self) -> (u64, u64) {
        let across = self.components.iter().map(|component| component.across).max();
        let down = self.components.iter().map(|component| component.down).max();
        (across.unwrap_or(1), down.unwrap_or(1))
    }

    fn blocks_of(&self, component: Component) -> u64 {
        let (across, down) = self.max_sampling();
        let columns = (self.width * component.across).div_ceil(across).div_ceil(8);
        columns * (self.height * component.down).div_ceil(down).div_ceil(8)
    }

    fn interleaved_units(&self) -> u64 {
        let (across, down) = self.max_sampling();
        self.width.div_ceil(8 * across) * self.height.div_ceil(8 * down)
    }
}

/// For each possible 16 bits, the length and the value of the code that they begin with. The length of no code is zero.
struct Table(Vec<(u8, u8)>);

impl Table {
    fn new(definition: &[u8]) -> Result<Self, Error> {
        let (counts, values) = definition.split_at_checked(16).ok_or(BROKEN)?;
        let mut codes = Vec::with_capacity(1 << MAX_CODE_LENGTH);
        let mut values = values.iter();
        for (length, &count) in (1_u8..).zip(counts) {
            for &value in values.by_ref().take(usize::from(count)) {
                let filled = codes.len() + (1 << (MAX_CODE_LENGTH - u32::from(length)));
                if filled > 1 << MAX_CODE_LENGTH {
                    return Err(BROKEN);
                }
                codes.resize(filled, (length, value));
            }
        }
        codes.resize(1 << MAX_CODE_LENGTH, (0, 0));
        Ok(Self(codes))
    }
}

/// The bits of compressed data.
struct Bits<'a> {
    source: &'a mut Source,
    /// The next bits, from the highest down.
    pending: u64,
    count: u32,
    /// Number of bytes read since the last restart, and how many of them were in the file.
    read: u64,
    real: u64,
    /// Offsets of the ends of the last bytes read.
    ends: [u64; 8],
    start: u64,
}

impl<'a> Bits<'a> {
    fn new(source: &'a mut Source) -> Self {
        let start = source.position();
        Self { source, pending: 0, count: 0, read: 0, real: 0, ends: [start; 8], start }
    }

    /// Reads bytes until there are enough bits for a code. After the last byte come zeros.
    fn fill(&mut self) -> Result<(), Error> {
        while self.count < 32 {
            let byte = if self.real == self.read { self.next_byte()? } else { None };
            self.real += u64::from(byte.is_some());
            self.ends[usize::try_from(self.read & 7).unwrap_or_default()] = self.source.position();
            self.read += 1;
            self.pending |= u64::from(byte.unwrap_or(0)) << (56 - self.count);
            self.count += 8;
        }
        Ok(())
    }

    /// Returns the next byte, or `None` at a marker or at the end of the file.
    fn next_byte(&mut self) -> Result<Option<u8>, Error> {
        if self.source.left() == 0 {
            return Ok(None);
        }
        let byte = self.source.byte()?;
        if byte != 0xFF {
            return Ok(Some(byte));
        }
        if self.source.left() > 0 && self.source.byte()? == 0 {
            return Ok(Some(byte));
        }
        self.source.seek(self.source.position() - 2)?;
        Ok(None)
    }

    fn decode(&mut self, table: &Table) -> Result<u8, Error> {
        if self.count < MAX_CODE_LENGTH {
            self.fill()?;
        }
        let (length, value) = table.0[usize::try_from(self.pending >> 48).unwrap_or_default()];
        if length == 0 {
            return Err(BROKEN);
        }
        self.skip(u32::from(length))?;
        Ok(value)
    }

    /// Skips up to 16 bits.
    fn skip(&mut self, count: u32) -> Result<(), Error> {
        if self.count < count {
            self.fill()?;
        }
        self.pending <<= count;
        self.count -= count;
        Ok(())
    }

    /// Skips the codes of one block.
    fn skip_block(&mut self, dc: &Table, ac: &Table) -> Result<(), Error> {
        let size = self.decode(dc)?;
        self.skip(u32::from(size & 15))?;
        let mut next = 1;
        while next < 64 {
            let code = self.decode(ac)?;
            let (zeros, size) = (code >> 4, code & 15);
            if size == 0 && zeros != 15 {
                break;
            }
            self.skip(u32::from(size))?;
            next += zeros + 1;
        }
        // A file that has ended would go on with zeros forever.
        if self.read > self.real + 8 { Err(TRUNCATED) } else { Ok(()) }
    }

    /// Returns the offset of the end of the last byte that was used.
    fn end(&self) -> Result<u64, Error> {
        let used = self.read - u64::from(self.count / 8);
        if used > self.real {
            return Err(TRUNCATED);
        }
        match used.checked_sub(1) {
            Some(last) => Ok(self.ends[usize::try_from(last & 7).unwrap_or_default()]),
            None => Ok(self.start),
        }
    }

    /// Reads a restart marker, before which the rest of the last byte is unused.
    fn restart(&mut self) -> Result<(), Error> {
        let end = self.end()?;
        self.source.seek(end)?;
        let [0xFF, 0xD0..=0xD7] = self.source.array()? else { return Err(BROKEN) };
        let start = self.source.position();
        (self.pending, self.count, self.read, self.real) = (0, 0, 0, 0);
        (self.ends, self.start) = ([start; 8], start);
        Ok(())
    }
}
