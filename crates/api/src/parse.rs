//! Values in the text of paths, queries, forms and settings.

/// The largest integer that every JSON parser represents exactly.
pub(crate) const MAX_NUMBER: i64 = (1 << 53) - 1;

/// Parses the words for true and false, in any case.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// Parses an integer. One that does not fit becomes the nearest that does, which exceeds every bound as well.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
}

/// Parses an id. One that cannot exist becomes an id that does not exist.
pub(crate) fn parse_id(text: &str) -> Option<i64> {
    let id = parse_int(text)?;
    Some(if (1..=MAX_NUMBER).contains(&id) { id } else { -1 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_integer_is_parsed(number in any::<i128>(), spaces in " {0,3}") {
            let nearest = number.clamp(i64::MIN.into(), i64::MAX.into());
            prop_assert_eq!(parse_int(&format!("{spaces}{number}{spaces}")).map(i128::from), Some(nearest));
        }

        #[test]
        fn only_integers_are_parsed(text in "[-+ ]{0,2}[0-9a-fx._]{0,6}") {
            let is_number = text.trim().strip_prefix(['+', '-']).unwrap_or(text.trim());
            let is_number = !is_number.is_empty() && is_number.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(parse_int(&text).is_some(), is_number);
        }
    }

    #[test]
    fn integers_that_do_not_fit_become_the_nearest_that_does() {
        assert_eq!(parse_int("42"), Some(42));
        assert_eq!(parse_int("-7"), Some(-7));
        assert_eq!(parse_int("99999999999999999999"), Some(i64::MAX));
        assert_eq!(parse_int("-99999999999999999999"), Some(i64::MIN));
        for none in ["", "-", "1.5", "1e3", "abc", "0x10", "１"] {
            assert_eq!(parse_int(none), None, "{none}");
        }
    }

    #[test]
    fn booleans_are_words_in_any_case() {
        assert!(["true", "1", "Yes", "ON"].into_iter().all(|word| parse_bool(word) == Some(true)));
        assert!(["False", "0", "no", "off"].into_iter().all(|word| parse_bool(word) == Some(false)));
        assert_eq!(parse_bool("maybe"), None);
    }
}
