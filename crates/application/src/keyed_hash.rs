//! Keyed hashes, so that a copy of the database reveals no code and no token.

use std::net::IpAddr;

use domain::{
    accounts::{ClientHash, CodeHash, RegistrationId, ResetTokenHash},
    users::Email,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// HMAC-SHA-256 (RFC 2104) with one key.
#[derive(Clone)]
pub struct KeyedHash(Hmac<Sha256>);

impl KeyedHash {
    /// Creates a hash function with `key`, which may have any length.
    pub fn new(key: &[u8]) -> Self {
        // HMAC accepts keys of any length.
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!()))
    }

    /// Hashes the parts of a message. Hashes with different `purpose`s are independent of each other.
    pub fn hash(&self, purpose: &str, message: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(purpose.as_bytes());
        for part in message {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Hashes a one-time code for storage. Without the key, six digits would be found by trying them all.
    pub fn hash_code(&self, registration: RegistrationId, code: &str) -> CodeHash {
        CodeHash(self.hash("otp", &[&registration.0.to_le_bytes(), code.as_bytes()]).to_vec())
    }

    /// Hashes the network address of a client for storage.
    pub fn hash_client(&self, address: IpAddr) -> ClientHash {
        ClientHash(self.hash("client", &[address.to_string().as_bytes()]).to_vec())
    }

    /// Derives the salt of the passwords that are registered for an address.
    pub fn registration_salt(&self, email: &Email) -> [u8; 16] {
        self.hash("registration salt", &[email.as_str().as_bytes()]).as_chunks().0[0]
    }

    /// Hashes a reset token for storage.
    pub fn hash_reset_token(&self, token: &str) -> ResetTokenHash {
        ResetTokenHash(self.hash("reset", &[token.as_bytes()]).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_differ_by_key_purpose_and_parts() {
        let key = KeyedHash::new(b"key");
        let hash = key.hash("otp", &[b"ab", b"c"]);
        assert_eq!(hash, key.hash("otp", &[b"ab", b"c"]));
        assert_ne!(hash, key.hash("otp", &[b"a", b"bc"]));
        assert_ne!(hash, key.hash("cursor", &[b"ab", b"c"]));
        assert_ne!(hash, KeyedHash::new(b"yek").hash("otp", &[b"ab", b"c"]));
    }
}
