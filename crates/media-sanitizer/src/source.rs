//! Streaming input and output.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write},
    path::Path,
};

use crate::error::{Error, TRUNCATED};

/// The sanitized file.
pub(crate) type Sink<'a> = BufWriter<&'a mut File>;

/// Size of the buffers for reading and writing.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

/// The uploaded file, which is read sequentially, with occasional seeks.
pub(crate) struct Source {
    reader: BufReader<File>,
    position: u64,
    length: u64,
    max_pixels: u64,
}

impl Source {
    pub(crate) fn open(path: &Path, max_pixels: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { reader: BufReader::with_capacity(BUFFER_BYTES, file), position: 0, length, max_pixels })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Checks the dimensions that a header declares. A file with too many pixels is well formed: a smaller version of it
    /// would be accepted, so the error is [`Error::TooLarge`].
    pub(crate) fn check_pixels(&self, width: u64, height: u64) -> Result<(), Error> {
        match width.saturating_mul(height) {
            0 => Err(Error::Malformed("its width or height is zero")),
            pixels if pixels > self.max_pixels => Err(Error::TooLarge),
            _ => Ok(()),
        }
    }

    /// Returns up to `max` of the next bytes without consuming them.
    pub(crate) fn peek(&mut self, max: usize) -> io::Result<Vec<u8>> {
        let buffered = self.reader.fill_buf()?;
        Ok(buffered[..max.min(buffered.len())].to_owned())
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.position += N as u64;
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
        self.reader.seek_relative(i64::try_from(length).map_err(|_| TRUNCATED)?)?;
        self.position += length;
        Ok(())
    }

    pub(crate) fn seek(&mut self, to: u64) -> Result<(), Error> {
        if let Some(ahead) = to.checked_sub(self.position) {
            return self.skip(ahead);
        }
        self.position = self.reader.seek(SeekFrom::Start(to))?;
        Ok(())
    }

    pub(crate) fn copy(&mut self, length: u64, sink: &mut impl Write) -> Result<(), Error> {
        self.check_left(length)?;
        let copied = io::copy(&mut (&mut self.reader).take(length), sink)?;
        self.position += copied;
        if copied == length { Ok(()) } else { Err(TRUNCATED) }
    }

    /// Copies up to the next `stop` byte, which is consumed and not copied. Returns the number of copied bytes.
    pub(crate) fn copy_until(&mut self, stop: u8, sink: &mut impl Write) -> Result<u64, Error> {
        let begin = self.position;
        loop {
            let buffered = self.reader.fill_buf()?;
            if buffered.is_empty() {
                return Err(TRUNCATED);
            }
            let found = buffered.iter().position(|&byte| byte == stop);
            let length = found.unwrap_or(buffered.len());
            sink.write_all(&buffered[..length])?;
            let taken = length + usize::from(found.is_some());
            self.reader.consume(taken);
            self.position += taken as u64;
            if found.is_some() {
                return Ok(self.position - begin - 1);
            }
        }
    }

    fn check_left(&self, length: u64) -> Result<(), Error> {
        if length > self.length.saturating_sub(self.position) { Err(TRUNCATED) } else { Ok(()) }
    }
}
