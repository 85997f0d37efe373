//! Keyed hashes of what is sent by mail, so that who reads the tables cannot use it.

use std::{fmt, sync::Arc};

use domain::accounts::{CodeHash, RegistrationId, ResetTokenHash};

use crate::random::keyed_hash;

/// The key of the hashes that are stored.
#[derive(Clone)]
pub struct Secrets(Arc<[u8]>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Hashes by this key.
    pub fn new(key: &[u8]) -> Self {
        Self(key.into())
    }

    /// What is stored of a code. Six digits would be found in a moment without the key.
    pub fn code_hash(&self, registration: RegistrationId, code: &str) -> CodeHash {
        CodeHash(keyed_hash(&self.0, "otp", &[&registration.0.to_le_bytes(), code.as_bytes()]).to_vec())
    }

    /// What is stored of a reset token.
    pub fn reset_hash(&self, token: &str) -> ResetTokenHash {
        ResetTokenHash(keyed_hash(&self.0, "reset", &[token.as_bytes()]).to_vec())
    }

    /// Authenticates a message for one purpose.
    pub fn tag(&self, purpose: &str, message: &[&[u8]]) -> [u8; 32] {
        keyed_hash(&self.0, purpose, message)
    }
}
