//! Users.

use chrono::{DateTime, Utc};

use crate::{Result, Violation};

/// Identifies a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// A username: 3 to 50 ASCII letters, digits and underscores, unique regardless of case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

/// Usernames that would let a user pose as the operators.
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
    /// Parses client input.
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

    /// Returns the name as its owner wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address: at most 254 bytes, trimmed, in lower case, with the domain in ASCII (punycode). So a mailbox has one
/// spelling. Debug output hides it: personal data must not reach a log.
#[derive(Clone, derive_more::Debug, PartialEq, Eq)]
#[debug("Email(…)")]
pub struct Email(String);

impl Email {
    /// Parses client input: RFC 5321 syntax with a domain name, no display name, no address literal. Domains may be
    /// internationalized (UTS #46).
    ///
    /// The part before the `@` must be ASCII: other mail servers need not accept SMTPUTF8. It must not be quoted, which
    /// would be another spelling of the same mailbox.
    pub fn parse(raw: &str) -> Result<Self, Violation> {
        use email_address::{EmailAddress, Options};
        use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
        let invalid = || Violation::value("email", "value is not a valid email address");
        let (local, domain) = raw.trim().rsplit_once('@').ok_or_else(invalid)?;
        let domain = Uts46::new()
            .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
            .map_err(|_| invalid())?;
        let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        if !local.is_ascii() || local.starts_with('"') || domain.rsplit('.').next().is_none_or(is_number) {
            return Err(invalid());
        }
        let email = format!("{}@{domain}", local.to_ascii_lowercase());
        if email.len() > 254 || email.chars().any(char::is_control) {
            return Err(invalid());
        }
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        EmailAddress::parse_with_options(&email, options).map_err(|_| invalid())?;
        Ok(Self(email))
    }

    /// Wraps a stored value without validation.
    pub fn from_stored(email: String) -> Self {
        Self(email)
    }

    /// Returns the address in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the one spelling of what names an account at login: a username or an e-mail address.
pub fn normalize_login(login: &str) -> String {
    Email::parse(login).map_or_else(|_| login.trim().to_lowercase(), |email| email.0)
}

/// A user as others see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSummary {
    /// The id.
    pub id: UserId,
    /// The username.
    pub username: String,
}

/// A user's own view of their account.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The id.
    pub id: UserId,
    /// The username.
    pub username: String,
    /// The address.
    pub email: Email,
    /// Number of posts, private ones included.
    pub posts_count: i64,
    /// Number of followers.
    pub followers_count: i64,
    /// Number of users whom this user follows.
    pub following_count: i64,
    /// The newest 100 followers.
    pub followers: Vec<UserSummary>,
    /// The newest 100 users whom this user follows.
    pub following: Vec<UserSummary>,
    /// When the account was created.
    pub created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Rule;

    #[test]
    fn usernames_have_3_to_50_letters_digits_and_underscores() {
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
    fn reserved_usernames_are_rejected_in_any_case() {
        for name in ["admin", "Root", "SUPPORT", "system"] {
            assert!(Username::parse(name).is_err(), "{name}");
        }
        assert!(Username::parse("administrators_friend").is_ok());
    }

    #[test]
    fn addresses_are_trimmed_and_lowercased() {
        assert_eq!(Email::parse("  Ann@Example.COM ").unwrap().as_str(), "ann@example.com");
    }

    #[test]
    fn spellings_of_a_mailbox_are_one_address() {
        for spelling in [
            "ann@münchen.de",
            "Ann@MÜNCHEN.DE",
            "ann@mu\u{308}nchen.de",
            "ann@xn--mnchen-3ya.de",
            "ann@XN--MNCHEN-3YA.de",
            "ann@münchen。ｄｅ",
            "ann@mün\u{ad}chen.de",
        ] {
            assert_eq!(Email::parse(spelling).unwrap().as_str(), "ann@xn--mnchen-3ya.de", "{spelling:?}");
            assert_eq!(normalize_login(&format!(" {spelling} ")), "ann@xn--mnchen-3ya.de");
        }
        for address in ["ann@faß.de", "ann@例え.テスト", "ann@почта.рф", "a.b+c@r3---sn.example.com"]
        {
            let email = Email::parse(address).unwrap();
            assert!(email.as_str().is_ascii(), "{address}");
            assert_eq!(Email::parse(email.as_str()), Ok(email));
        }
        assert_eq!(normalize_login(" Ann "), "ann");
    }

    #[test]
    fn addresses_that_cannot_be_mailed_are_rejected() {
        for bad in [
            "änn@example.com",
            "ann@xn--a.de",
            "\"ann\"@example.com",
            "\"a b\"@example.com",
            "ann@127.0.0.1",
            "ann@example.123",
            "ann@-example.com",
            "ann@exam_ple.com",
            "ann@example..com",
            "ann@example.com.",
            "ann@\u{202e}example.com\u{2066}x.com",
            &format!("ann@{}.com", "ü".repeat(60)),
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn malformed_addresses_are_rejected() {
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
    fn debug_output_hides_the_address() {
        assert!(!format!("{:?}", Email::parse("ann@example.com").unwrap()).contains("ann"));
    }

    proptest! {
        #[test]
        fn parse_keeps_a_username_as_it_is(raw in "\\PC{0,60}") {
            if let Ok(name) = Username::parse(&raw) {
                prop_assert_eq!(name.as_str(), raw);
            }
        }

        #[test]
        fn usernames_consist_of_letters_digits_and_underscores_only(raw in "[A-Za-z0-9_]{0,55}", other in "[^A-Za-z0-9_]") {
            let is_reserved = RESERVED.contains(&raw.to_ascii_lowercase().as_str());
            let parsed = Username::parse(&raw);
            prop_assert_eq!(parsed.is_ok(), (3..=50).contains(&raw.len()) && !is_reserved);
            prop_assert_eq!(parsed.is_ok(), Username::parse(&raw.to_ascii_uppercase()).is_ok());
            let (before, after) = raw.split_at(raw.len() / 2);
            let invalid = [before, &other, after].concat();
            prop_assert!(Username::parse(&invalid).is_err());
        }

        #[test]
        fn address_parsing_ignores_case_and_surrounding_space(
            raw in "[a-z0-9][a-z0-9+_-]{0,30}(\\.[a-z0-9]{1,10}){0,2}@[a-z0-9]{1,20}(\\.[a-z0-9]{1,10}){0,2}\\.[a-z]{2,6}",
        ) {
            let email = Email::parse(&raw).unwrap();
            prop_assert_eq!(email.as_str(), &raw);
            prop_assert_eq!(Email::parse(&format!(" {}\n", raw.to_uppercase())), Ok(email));
        }

        #[test]
        fn addresses_contain_no_control_characters(raw in "(?s).{0,20}[\r\n\x00].{0,5}@example.com") {
            if let Ok(email) = Email::parse(&raw) {
                prop_assert!(!email.as_str().chars().any(char::is_control));
            }
        }

        #[test]
        fn address_parsing_is_idempotent(raw in "\\PC{0,20}@\\PC{0,20}") {
            if let Ok(email) = Email::parse(&raw) {
                prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()));
            }
        }
    }
}
