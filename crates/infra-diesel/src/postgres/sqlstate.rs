//! The SQLSTATEs of errors.
//!
//! A message is in the language of the server's setting `lc_messages`, so only its SQLSTATE says what happened. Diesel
//! does not pass it on. So connections note the SQLSTATE of each message that they receive, just before Diesel does.

use std::sync::LazyLock;

use quick_cache::sync::Cache;
use tokio_postgres::error::SqlState;

/// Bounds the messages whose SQLSTATE is known. It is looked up at once.
const MAX_MESSAGES: usize = 1024;
/// Bounds the size of an error. Larger ones are ignored.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// The type of a server's message and its length.
const HEADER_BYTES: usize = 5;

static BY_MESSAGE: LazyLock<Cache<String, SqlState>> = LazyLock::new(|| Cache::new(MAX_MESSAGES));

/// Returns the SQLSTATE of an error by its message; `None` if it did not come from a server.
pub(crate) fn sqlstate_of(message: &str) -> Option<SqlState> {
    BY_MESSAGE.get(message)
}

/// Finds the errors among what a server sends.
#[derive(Default)]
pub(super) struct ErrorReader {
    /// What has arrived of a header or of an error.
    partial: Vec<u8>,
    /// The number of bytes until the next header.
    skip: usize,
}

impl ErrorReader {
    /// Reads what has arrived, however it was cut into pieces.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = HEADER_BYTES + self.error_length().unwrap_or(0);
            let taken = (wanted - self.partial.len()).min(bytes.len());
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.partial.len() < wanted {
                return;
            }
            if self.partial.len() > HEADER_BYTES {
                note(&self.partial[HEADER_BYTES..]);
                self.partial.clear();
            } else if self.error_length().is_none() {
                self.skip = self.body_length();
                self.partial.clear();
            }
        }
    }

    /// Returns the length of the message after its header, which is complete.
    fn body_length(&self) -> usize {
        let length = self.partial.get(1..HEADER_BYTES).and_then(|length| length.try_into().ok());
        let length = usize::try_from(u32::from_be_bytes(length.unwrap_or_default())).unwrap_or(0);
        length.saturating_sub(4)
    }

    /// Returns the length of the error after its header; `None` if no error has begun.
    fn error_length(&self) -> Option<usize> {
        let is_error = self.partial.len() >= HEADER_BYTES && self.partial[0] == b'E';
        Some(self.body_length()).filter(|length| is_error && (1..=MAX_ERROR_BYTES).contains(length))
    }
}

/// Notes the SQLSTATE of an error: fields of a letter and a text, each ended by a zero.
fn note(error: &[u8]) {
    let field = |letter: u8| {
        let text = error.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[letter]))?;
        std::str::from_utf8(text).ok()
    };
    if let (Some(code), Some(message)) = (field(b'C'), field(b'M')) {
        BY_MESSAGE.insert(message.to_owned(), SqlState::from_code(code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    #[test]
    fn sqlstate_is_found_however_the_stream_is_cut() {
        for piece in [1, 2, 3, 7, 100] {
            let text = format!("annulation, en morceaux de {piece}");
            let stream = [
                message(b'D', b"a row with E\0\0\0\x09 in it"),
                message(b'Z', b"I"),
                message(b'E', format!("SERREUR\0VERROR\0C57014\0M{text}\0\0").as_bytes()),
                message(b'1', b""),
                message(b'N', b"C42501\0Ma notice\0\0"),
            ];
            let mut reader = ErrorReader::default();
            stream.concat().chunks(piece).for_each(|bytes| reader.read(bytes));
            assert_eq!(sqlstate_of(&text), Some(SqlState::QUERY_CANCELED));
            assert_eq!(sqlstate_of("a notice"), None);
            assert!(reader.partial.is_empty() && reader.skip == 0);
        }
    }
}
