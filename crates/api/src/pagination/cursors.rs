//! Cursors of lists.

use application::keyed_hash::KeyedHash;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::Error;
use subtle::ConstantTimeEq as _;

/// Identifies a list by all that determines its content. A cursor is valid for its own list only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List(pub String);

/// Encodes and decodes cursors: the ids after which pages begin, signed so that clients cannot make or alter them.
#[derive(Clone)]
pub struct Cursors(KeyedHash);

const ID_BYTES: usize = 8;
const TAG_BYTES: usize = 12;

impl Cursors {
    /// Signs with this key.
    pub fn new(secrets: KeyedHash) -> Self {
        Self(secrets)
    }

    fn tag(&self, list: &List, id: &[u8]) -> [u8; 32] {
        self.0.hash("cursor", &[list.0.as_bytes(), id])
    }

    /// Returns the cursor of the page after the item of this id.
    pub fn encode(&self, list: &List, id: i64) -> String {
        let mut bytes = Vec::with_capacity(ID_BYTES + TAG_BYTES);
        bytes.extend(id.to_be_bytes());
        let tag = self.tag(list, &bytes);
        bytes.extend(&tag[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the id of a cursor.
    ///
    /// # Errors
    /// `INVALID_CURSOR` if it was altered or belongs to another list.
    pub fn decode(&self, list: &List, cursor: &str) -> domain::Result<i64> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Error::INVALID_CURSOR)?;
        let (id, tag) = bytes.split_first_chunk::<ID_BYTES>().ok_or(Error::INVALID_CURSOR)?;
        if !bool::from(tag.ct_eq(&self.tag(list, id)[..TAG_BYTES])) {
            return Err(Error::INVALID_CURSOR);
        }
        Ok(i64::from_be_bytes(*id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_id_survives_its_cursor(id in 1i64..) {
            let cursors = Cursors::new(KeyedHash::new(b"a key for tests"));
            let list = List("posts".into());
            prop_assert_eq!(cursors.decode(&list, &cursors.encode(&list, id)), Ok(id));
        }

        #[test]
        fn other_text_is_an_invalid_cursor(text in "[A-Za-z0-9_-]{0,60}|\\PC{0,20}") {
            let cursors = Cursors::new(KeyedHash::new(b"a key for tests"));
            prop_assert_eq!(cursors.decode(&List("posts".into()), &text), Err(Error::INVALID_CURSOR));
        }
    }

    #[test]
    fn cursor_is_valid_for_its_list_and_key_only() {
        let cursors = Cursors::new(KeyedHash::new(b"a key for tests"));
        let (posts, others) = (List("posts".into()), List("posts of 7".into()));
        let cursor = cursors.encode(&posts, 42);
        assert_eq!(cursors.decode(&posts, &cursor), Ok(42));
        assert_eq!(cursors.decode(&others, &cursor), Err(Error::INVALID_CURSOR));
        let other_key = Cursors::new(KeyedHash::new(b"another key"));
        assert_eq!(other_key.decode(&posts, &cursor), Err(Error::INVALID_CURSOR));
        let mut altered = cursor.clone().into_bytes();
        altered[3] = if altered[3] == b'A' { b'B' } else { b'A' };
        for broken in
            [String::from_utf8(altered).unwrap(), cursor + "A", String::new(), "x".repeat(500), "🦀".into()]
        {
            assert_eq!(cursors.decode(&posts, &broken), Err(Error::INVALID_CURSOR), "{broken}");
        }
    }
}
