//! Keyed hashes of what is sent by mail, so that who reads the tables cannot use it.

use std::fmt;

use domain::accounts::{CodeHash, RegistrationId, ResetTokenHash};

use crate::random::KeyedHash;

/// The key of the hashes that are stored.
#[derive(Clone)]
pub struct Secrets(KeyedHash);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Hashes by this key.
    pub fn new(key: &[u8]) -> Self {
        Self(KeyedHash::new(key))
    }

    /// What is stored of a code. Six digits would be found in a moment without the key.
    pub fn code_hash(&self, registration: RegistrationId, code: &str) -> CodeHash {
        CodeHash(self.0.of("otp", &[&registration.0.to_le_bytes(), code.as_bytes()]).to_vec())
    }

    /// What is stored of a reset token.
    pub fn reset_hash(&self, token: &str) -> ResetTokenHash {
        ResetTokenHash(self.0.of("reset", &[token.as_bytes()]).to_vec())
    }

    /// Authenticates a message for one purpose.
    pub fn tag(&self, purpose: &str, message: &[&[u8]]) -> [u8; 32] {
        self.0.of(purpose, message)
    }
}
