//! Users: who they are, and how others see them.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::{Result, Violation};

/// Identifies a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// A name of 3 to 50 letters, digits and underscores, unique without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

/// Names that would let a user pass for the operators.
const RESERVED: &[&str] = &[
    "about",
    "abuse",
    "account",
    "admin",
    "administrator",
    "anonymous",
    "api",
    "billing",
    "contact",
    "everyone",
    "guest",
    "help",
    "helpdesk",
    "info",
    "mail",
    "me",
    "moderator",
    "mod",
    "noreply",
    "no_reply",
    "null",
    "official",
    "operator",
    "owner",
    "postmaster",
    "root",
    "security",
    "staff",
    "support",
    "sysadmin",
    "system",
    "team",
    "undefined",
    "webmaster",
];

impl Username {
    /// Checks what a client sent.
    pub fn parse(raw: &str) -> Result<Self, Violation> {
        Violation::check_length("username", raw, 3, 50)?;
        if !raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Violation::value(
                "username",
                "Username may have letters, digits and underscores only",
            ));
        }
        if RESERVED.iter().any(|name| raw.eq_ignore_ascii_case(name)) {
            return Err(Violation::value("username", "This username is reserved"));
        }
        Ok(Self(raw.to_owned()))
    }

    /// Trusts what was stored: a tightened rule must not lock anybody out.
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// The name as its owner writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form by which names are compared.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// An e-mail address of at most 254 bytes, trimmed and in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Checks what a client sent: RFC 5321 syntax with a domain name, no display name, no address literal.
    pub fn parse(raw: &str) -> Result<Self, Violation> {
        use email_address::{EmailAddress, Options};
        let invalid = || Violation::value("email", "value is not a valid email address");
        let email = raw.trim().to_lowercase();
        if email.len() > 254 || email.chars().any(char::is_control) {
            return Err(invalid());
        }
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        EmailAddress::parse_with_options(&email, options).map_err(|_| invalid())?;
        Ok(Self(email))
    }

    /// Trusts what was stored.
    pub fn from_stored(email: String) -> Self {
        Self(email)
    }

    /// The address in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Addresses are personal data: a stray `{:?}` must not carry them into a log.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// A user as others see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSummary {
    /// The user.
    pub id: UserId,
    /// Their name.
    pub username: String,
}

/// A user's own view of their account.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The user.
    pub id: UserId,
    /// Their name.
    pub username: String,
    /// Their address.
    pub email: Email,
    /// How many posts they have, private ones included.
    pub posts_count: i64,
    /// How many follow them.
    pub followers_count: i64,
    /// How many they follow.
    pub following_count: i64,
    /// The newest of their followers, 100 at most.
    pub followers: Vec<UserSummary>,
    /// The newest of those they follow, 100 at most.
    pub following: Vec<UserSummary>,
    /// When they joined.
    pub created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Rule;

    #[test]
    fn names_have_3_to_50_letters_digits_and_underscores() {
        for good in ["abc", "A_9", &"x".repeat(50)] {
            assert_eq!(Username::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(Username::parse("ab").unwrap_err().rule, Rule::TooShort);
        assert_eq!(Username::parse(&"x".repeat(51)).unwrap_err().rule, Rule::TooLong);
        for bad in ["a b", "a-b", "abc ", "äöü", "abc\n", "a\0c"] {
            assert_eq!(Username::parse(bad).unwrap_err().rule, Rule::Value, "{bad:?}");
        }
    }

    #[test]
    fn names_of_operators_are_reserved_in_any_case() {
        for name in ["admin", "Root", "SUPPORT", "system"] {
            assert!(Username::parse(name).is_err(), "{name}");
        }
        assert!(Username::parse("administrators_friend").is_ok());
    }

    #[test]
    fn addresses_are_trimmed_and_lowered() {
        assert_eq!(Email::parse("  Ann@Example.COM ").unwrap().as_str(), "ann@example.com");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "x".repeat(250));
        for bad in [
            "",
            "ann",
            "ann@",
            "@example.com",
            "ann@localhost",
            "Ann <ann@example.com>",
            "a b@example.com",
            "ann@[127.0.0.1]",
            "ann@example.com\r\nBcc: all@example.com",
            "ann\0@example.com",
            &long,
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", Email::parse("ann@example.com").unwrap()).contains("ann"));
    }

    proptest! {
        #[test]
        fn a_name_that_passes_is_kept_as_it_is(raw in "\\PC{0,60}") {
            if let Ok(name) = Username::parse(&raw) {
                prop_assert_eq!(name.as_str(), raw);
            }
        }

        #[test]
        fn letters_digits_and_underscores_are_a_name_and_nothing_else_is(raw in "[A-Za-z0-9_]{0,55}", other in "[^A-Za-z0-9_]") {
            let is_reserved = RESERVED.contains(&raw.to_ascii_lowercase().as_str());
            let parsed = Username::parse(&raw);
            prop_assert_eq!(parsed.is_ok(), (3..=50).contains(&raw.len()) && !is_reserved);
            if let Ok(name) = parsed {
                prop_assert_eq!(name.key(), Username::parse(&raw.to_ascii_uppercase()).unwrap().key());
            }
            let (before, after) = raw.split_at(raw.len() / 2);
            let spoilt = [before, &other, after].concat();
            prop_assert!(Username::parse(&spoilt).is_err());
        }

        #[test]
        fn an_address_is_one_however_it_is_written(
            raw in "[a-z0-9][a-z0-9+_-]{0,30}(\\.[a-z0-9]{1,10}){0,2}@[a-z0-9]{1,20}(\\.[a-z0-9]{1,10}){0,2}\\.[a-z]{2,6}",
        ) {
            let email = Email::parse(&raw).unwrap();
            prop_assert_eq!(email.as_str(), &raw);
            prop_assert_eq!(Email::parse(&format!(" {}\n", raw.to_uppercase())), Ok(email));
        }

        #[test]
        fn no_address_can_begin_a_line_of_its_own(raw in "(?s).{0,20}[\r\n\x00].{0,5}@example.com") {
            if let Ok(email) = Email::parse(&raw) {
                prop_assert!(!email.as_str().chars().any(char::is_control));
            }
        }

        #[test]
        fn an_address_that_passes_passes_again(raw in "\\PC{0,20}@\\PC{0,20}") {
            if let Ok(email) = Email::parse(&raw) {
                prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()));
            }
        }
    }
}
