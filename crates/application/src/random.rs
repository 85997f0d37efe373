//! Randomness from the operating system, and keyed hashes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Error, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Random bytes that nobody can guess.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
    Ok(bytes)
}

/// `N` random bytes in URL-safe base64 without padding (RFC 4648, section 5).
pub fn token<const N: usize>() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<N>()?))
}

/// A number from 1 to 2^53 - 1, which JavaScript keeps exactly.
pub fn id() -> Result<i64> {
    let random = u64::from_le_bytes(bytes()?) >> 11;
    Ok(i64::try_from(random.max(1)).unwrap_or(1))
}

/// Six digits, each code as likely as any other.
pub fn code() -> Result<String> {
    // 2^64 is no multiple of a million; the surplus favours some codes by less than 1 in 10^13.
    Ok(format!("{:06}", u64::from_le_bytes(bytes()?) % 1_000_000))
}

/// Hashes by a key: HMAC-SHA-256 (RFC 2104).
#[derive(Clone)]
pub struct KeyedHash(Hmac<Sha256>);

impl KeyedHash {
    /// By this key.
    pub fn new(key: &[u8]) -> Self {
        // HMAC takes keys of every length.
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!()))
    }

    /// The hash of `message`; `purpose` keeps the uses of one key apart.
    pub fn of(&self, purpose: &str, message: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(purpose.as_bytes());
        for part in message {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_six_digits() {
        for _ in 0..1000 {
            let code = code().unwrap();
            assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        }
    }

    #[test]
    fn ids_fit_into_a_javascript_number() {
        assert!((0..1000).all(|_| (1..1 << 53).contains(&id().unwrap())));
    }

    #[test]
    fn hashes_differ_by_key_purpose_and_parts() {
        let key = KeyedHash::new(b"key");
        let hash = key.of("otp", &[b"ab", b"c"]);
        assert_eq!(hash, key.of("otp", &[b"ab", b"c"]));
        assert_ne!(hash, key.of("otp", &[b"a", b"bc"]));
        assert_ne!(hash, key.of("cursor", &[b"ab", b"c"]));
        assert_ne!(hash, KeyedHash::new(b"yek").of("otp", &[b"ab", b"c"]));
    }
}
