//! Streaming input and output.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write},
    path::Path,
    time::Instant,
};

use crate::{
    error::{Error, TRUNCATED},
    limits::Limits,
};

/// The sanitized file.
pub(crate) type Sink<'a> = BufWriter<&'a mut File>;

/// Size of the buffers for reading and writing.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

/// Number of parts that every file may have. An hour of video in the smallest usual blocks has 300,000.
const MAX_PARTS: u64 = 1_000_000;

/// Larger files may have one part for this many bytes.
const MIN_BYTES_PER_PART: u64 = 256;

/// How many parts are counted between two looks at the clock.
const PARTS_PER_CLOCK_CHECK: u64 = 1024;

/// The uploaded file, which is read sequentially, with occasional seeks.
///
/// Seeking inside the buffer makes no system call, so parsers may go back to a part that they have just read.
pub(crate) struct Source {
    file: File,
    buffer: Box<[u8]>,
    /// Number of bytes in the buffer.
    filled: usize,
    /// Offset of the next byte in the buffer.
    next: usize,
    /// Offset of the buffer in the file.
    buffer_start: u64,
    length: u64,
    /// Whether the last byte is a zero that is not in the file.
    has_appended_zero: bool,
    max_pixels: u64,
    parts: u64,
    max_parts: u64,
    deadline: Instant,
    /// Work done so far: calls, and bytes read from the file.
    #[cfg(test)]
    steps: u64,
}

impl Source {
    pub(crate) fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            file,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            filled: 0,
            next: 0,
            buffer_start: 0,
            length,
            has_appended_zero: false,
            max_pixels: limits.pixels,
            parts: 0,
            max_parts: MAX_PARTS.max(length / MIN_BYTES_PER_PART),
            deadline: Instant::now() + limits.time,
            #[cfg(test)]
            steps: 0,
        })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn position(&self) -> u64 {
        self.buffer_start + self.next as u64
    }

    /// Returns the number of bytes from the position to the end.
    pub(crate) fn left(&self) -> u64 {
        self.length.saturating_sub(self.position())
    }

    /// Appends a zero to the file, for formats whose last byte may be missing.
    pub(crate) fn append_zero(&mut self) {
        self.length += 1;
        self.has_appended_zero = true;
    }

    /// Counts a part of the file, such as a chunk or an element. Files of more parts than any real one has are made to
    /// overload programs that read them.
    pub(crate) fn count_part(&mut self) -> Result<(), Error> {
        self.parts += 1;
        if self.parts > self.max_parts {
            return Err(Error::Malformed("it has too many parts"));
        }
        if self.parts.is_multiple_of(PARTS_PER_CLOCK_CHECK) { self.check_time() } else { Ok(()) }
    }

    /// Checks the dimensions that a header declares. A file with too many pixels is well formed: a smaller version of it
    /// would be accepted, so the error is not that it is malformed.
    pub(crate) fn check_pixels(&self, width: u64, height: u64) -> Result<(), Error> {
        match width.saturating_mul(height) {
            0 => Err(Error::Malformed("its width or height is zero")),
            pixels if pixels > self.max_pixels => Err(Error::TooManyPixels),
            _ => Ok(()),
        }
    }

    /// Returns up to `max` of the next bytes without consuming them.
    pub(crate) fn peek(&mut self, max: usize) -> Result<Vec<u8>, Error> {
        let buffered = self.fill()?;
        Ok(buffered[..max.min(buffered.len())].to_owned())
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        if let Some(bytes) = self.buffer[self.next..self.filled].first_chunk().copied() {
            self.next += N;
            self.count_steps(1);
            return Ok(bytes);
        }
        let mut bytes = [0; N];
        self.copy(N as u64, &mut bytes.as_mut_slice())?;
        Ok(bytes)
    }

    pub(crate) fn u32_be(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32_le(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Reads bytes into memory. Allocates no more than the file has left.
    pub(crate) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Error> {
        self.check_left(length)?;
        let mut bytes = Vec::new();
        self.copy(length, &mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn skip(&mut self, length: u64) -> Result<(), Error> {
        self.check_left(length)?;
        self.seek(self.position() + length)
    }

    pub(crate) fn seek(&mut self, to: u64) -> Result<(), Error> {
        self.count_steps(1);
        let in_buffer = to.checked_sub(self.buffer_start).and_then(|offset| usize::try_from(offset).ok());
        match in_buffer.filter(|&offset| offset <= self.filled) {
            Some(offset) => self.next = offset,
            None if to > self.length => return Err(TRUNCATED),
            None => {
                self.buffer_start = self.file.seek(SeekFrom::Start(to))?;
                (self.next, self.filled) = (0, 0);
            }
        }
        Ok(())
    }

    pub(crate) fn copy(&mut self, length: u64, sink: &mut impl Write) -> Result<(), Error> {
        self.count_steps(1);
        self.check_left(length)?;
        let mut left = length;
        while left > 0 {
            let buffered = self.fill()?;
            let count = buffered.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(TRUNCATED);
            }
            sink.write_all(&buffered[..count])?;
            self.next += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// Copies up to the next `stop` byte, which is consumed and not copied. Returns the number of copied bytes.
    pub(crate) fn copy_until(&mut self, stop: u8, sink: &mut impl Write) -> Result<u64, Error> {
        self.count_steps(1);
        let mut copied = 0;
        loop {
            let buffered = self.fill()?;
            if buffered.is_empty() {
                return Err(TRUNCATED);
            }
            let found = buffered.iter().position(|&byte| byte == stop);
            let count = found.unwrap_or(buffered.len());
            sink.write_all(&buffered[..count])?;
            self.next += count + usize::from(found.is_some());
            copied += count as u64;
            if found.is_some() {
                return Ok(copied);
            }
        }
    }

    /// Returns the bytes in the buffer, after reading some if there are none. It is empty at the end of the file.
    fn fill(&mut self) -> Result<&[u8], Error> {
        if self.next == self.filled {
            self.check_time()?;
            self.buffer_start = self.position();
            (self.next, self.filled) = (0, 0);
            self.filled = loop {
                match self.file.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            if self.filled == 0 && self.has_appended_zero && self.buffer_start + 1 == self.length {
                (self.buffer[0], self.filled) = (0, 1);
            }
            self.count_steps(self.filled);
        }
        Ok(&self.buffer[self.next..self.filled])
    }

    fn check_left(&self, length: u64) -> Result<(), Error> {
        if length > self.left() { Err(TRUNCATED) } else { Ok(()) }
    }

    fn check_time(&self) -> Result<(), Error> {
        if Instant::now() > self.deadline { Err(Error::TimedOut) } else { Ok(()) }
    }

    #[cfg(test)]
    fn count_steps(&mut self, steps: usize) {
        self.steps += steps as u64;
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "only tests count")]
    fn count_steps(&mut self, _: usize) {}

    #[cfg(test)]
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}
