//! Passwords and their hashes.

use crate::{Error, Result, Violation};

/// A new password: 8 to 128 characters, counted as Unicode scalar values.
///
/// Login takes a plain string: existing passwords may predate the current rules.
#[derive(Clone, derive_more::Debug, PartialEq, Eq)]
#[debug("NewPassword(…)")]
pub struct NewPassword(String);

impl NewPassword {
    /// Parses client input. `field` is its name in the request.
    pub fn parse(field: &'static str, raw: &str) -> Result<Self> {
        Violation::check_length(field, raw, 0, 128)?;
        if raw.chars().count() < 8 {
            return Err(Error::PASSWORD_TOO_SHORT);
        }
        Ok(Self(raw.to_owned()))
    }

    /// Returns the plain text, for hashing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A password hash: a PHC string (argon2id) or, imported from older systems, a bcrypt hash.
#[derive(Clone, derive_more::Debug, PartialEq, Eq)]
#[debug("PasswordHash(…)")]
pub struct PasswordHash(pub String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn password_length_is_counted_in_characters() {
        assert!(NewPassword::parse("password", "pässwört").is_ok());
        assert_eq!(NewPassword::parse("password", "1234567"), Err(Error::PASSWORD_TOO_SHORT));
        assert!(NewPassword::parse("password", &"🦀".repeat(128)).is_ok());
        assert!(matches!(NewPassword::parse("password", &"🦀".repeat(129)), Err(Error::Invalid(_))));
    }

    #[test]
    fn debug_output_hides_the_password() {
        let password = NewPassword::parse("password", "correct horse").unwrap();
        assert!(!format!("{password:?}").contains("horse"));
    }

    proptest! {
        #[test]
        fn passwords_are_any_8_to_128_characters_unchanged(raw in "(?s).{0,140}") {
            let parsed = NewPassword::parse("password", &raw);
            prop_assert_eq!(parsed.is_ok(), (8..=128).contains(&raw.chars().count()));
            if let Ok(password) = parsed {
                prop_assert_eq!(password.expose(), raw);
            }
        }
    }
}
