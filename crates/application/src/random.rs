//! Randomness from the operating system.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Error, Result};

/// Returns cryptographically secure random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
    Ok(bytes)
}

/// Returns `N` random bytes in URL-safe base64 without padding (RFC 4648, section 5).
pub fn token<const N: usize>() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<N>()?))
}

/// Returns a random number from 1 to 2^53 - 1, which JavaScript represents exactly.
pub fn id() -> Result<i64> {
    let random = u64::from_le_bytes(bytes()?) >> 11;
    Ok(i64::try_from(random.max(1)).unwrap_or(1))
}

/// Returns a code of six digits, all equally likely.
pub fn code() -> Result<String> {
    // 2^64 is no multiple of a million, which favors some codes by less than 1 in 10^13.
    Ok(format!("{:06}", u64::from_le_bytes(bytes()?) % 1_000_000))
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
}
