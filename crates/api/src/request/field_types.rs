//! How fields of each type are read.

use domain::{
    accounts::Otp,
    comments::CommentContent,
    notifications::NotificationId,
    page::{PageNumber, PageSize},
    passwords::NewPassword,
    posts::PostContent,
    users::{Email, UserId, Username},
};
use serde_json::Value;

use super::{
    fields::{FieldType, Fields},
    upload_slots::Upload,
};
use crate::parse::{MAX_NUMBER, parse_bool, parse_id, parse_int};

pub(super) const INVALID_INTEGER: &str =
    "Input should be a valid integer, unable to parse string as an integer";

/// A required string.
impl FieldType for String {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        match fields.take(name) {
            Some(Value::String(text)) => return Some(text),
            Some(_) => fields.push(name, "string_type", "Input should be a valid string"),
            None => fields.push_missing(name),
        }
        None
    }
}

/// A string that may be absent or null.
impl FieldType for Option<String> {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        match fields.take(name) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) => Some(Some(text)),
            Some(_) => {
                fields.push(name, "string_type", "Input should be a valid string");
                None
            }
        }
    }
}

/// A boolean or a word for one. Absent, null and blank are `None`.
impl FieldType for Option<bool> {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let flag = match fields.take(name) {
            None | Some(Value::Null) => return Some(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Some(None),
            Some(Value::Bool(flag)) => Some(flag),
            Some(Value::String(text)) => parse_bool(&text),
            Some(Value::Number(number)) => parse_bool(&number.to_string()),
            Some(_) => None,
        };
        if flag.is_none() {
            fields.push(name, "bool_parsing", "Input should be a valid boolean, unable to interpret input");
        }
        flag.map(Some)
    }
}

/// Domain types that are parsed from a required string.
macro_rules! impl_for_parsed_text {
    ($($type:ty: $is_long:literal),*) => {
        $(impl FieldType for $type {
            const IS_LONG_TEXT: bool = $is_long;

            fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
                let text = String::read(fields, name)?;
                Self::parse(&text).map_err(|violation| fields.push_violation(&violation)).ok()
            }
        })*
    };
}

impl_for_parsed_text!(Username: false, Email: false, Otp: false, CommentContent: true);

/// Blank text is `None`.
impl FieldType for Option<PostContent> {
    const IS_LONG_TEXT: bool = true;

    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let Some(text) = Option::<String>::read(fields, name)? else { return Some(None) };
        PostContent::parse(&text).map_err(|violation| fields.push_violation(&violation)).ok()
    }
}

impl FieldType for NewPassword {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let text = String::read(fields, name)?;
        match Self::parse(name, &text) {
            Ok(password) => return Some(password),
            Err(domain::Error::Invalid(violations)) => {
                for violation in &violations {
                    fields.push_violation(violation);
                }
            }
            Err(refusal) => fields.refuse(refusal),
        }
        None
    }
}

/// The file of a multipart body. Text in its place is an error, unless it is empty.
impl FieldType for Option<Upload> {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        if let Some(file) = fields.take_file() {
            return Some(Some(file));
        }
        if Option::<String>::read(fields, name)?.is_some_and(|text| !text.is_empty()) {
            fields.push(name, "value_error", "Input should be a file");
            return None;
        }
        Some(None)
    }
}

/// Parses an integer from `min` to `max`.
fn parse_bounded(fields: &mut Fields, name: &str, text: &str, min: i64, max: i64) -> Option<i64> {
    match parse_int(text) {
        None => fields.push(name, "int_parsing", INVALID_INTEGER),
        Some(number) if number < min => {
            let message = format!("Input should be greater than or equal to {min}");
            fields.push(name, "greater_than_equal", message);
        }
        Some(number) if number > max => {
            let message = format!("Input should be less than or equal to {max}");
            fields.push(name, "less_than_equal", message);
        }
        Some(number) => return Some(number),
    }
    None
}

impl FieldType for Option<PageNumber> {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let Some(text) = Option::<String>::read(fields, name)? else { return Some(None) };
        let number = parse_bounded(fields, name, &text, 1, MAX_NUMBER)?;
        PageNumber::parse(number).map(Some).map_err(|violation| fields.push_violation(&violation)).ok()
    }
}

impl FieldType for Option<PageSize> {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let Some(text) = Option::<String>::read(fields, name)? else { return Some(None) };
        let size = parse_bounded(fields, name, &text, 1, PageSize::MAX.get())?;
        PageSize::parse(size).map(Some).map_err(|violation| fields.push_violation(&violation)).ok()
    }
}

impl FieldType for Option<NotificationId> {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let Some(text) = Option::<String>::read(fields, name)? else { return Some(None) };
        parse_bounded(fields, name, &text, 0, MAX_NUMBER).map(|id| Some(NotificationId(id)))
    }
}

/// A user by id, or the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserFilter {
    Me,
    Id(UserId),
}

impl FieldType for Option<UserFilter> {
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let Some(text) = Option::<String>::read(fields, name)? else { return Some(None) };
        if text == "me" {
            return Some(Some(UserFilter::Me));
        }
        let id = parse_id(&text);
        if id.is_none() {
            fields.push(name, "int_parsing", "Input should be a valid integer or me");
        }
        id.map(|id| Some(UserFilter::Id(UserId(id))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::fields::request_fields;

    request_fields! {
        struct Parameters {
            page: Option<PageNumber>,
            page_size: Option<PageSize>,
            since: Option<NotificationId>,
            user_id: Option<UserFilter>,
            flag: Option<bool>,
        }
    }

    proptest! {
        #[test]
        fn page_is_accepted_exactly_within_its_bounds(page in -5i64..=i64::MAX, size in -5i64..300) {
            let query = format!("page={page}&page_size={size}");
            let is_valid = (1..=MAX_NUMBER).contains(&page) && (1..=100).contains(&size);
            match Fields::from_query(&query).read::<Parameters>() {
                Ok(read) => {
                    prop_assert!(is_valid);
                    let read = (read.page.map(PageNumber::get), read.page_size.map(PageSize::get));
                    prop_assert_eq!(read, (Some(page), Some(size)));
                }
                Err(error) => prop_assert!(!is_valid && error.status() == 422),
            }
        }

        #[test]
        fn any_text_is_a_query_or_a_validation_error(text in "(?s).{0,60}|(page|since|user_id|flag)=.{0,20}") {
            match Fields::from_query(&text).read::<Parameters>() {
                Ok(Parameters { since, user_id, flag, .. }) => {
                    prop_assert!(since.is_none_or(|since| since.0 >= 0));
                    prop_assert!(user_id.is_none() || text.contains("user_id"));
                    prop_assert!(flag.is_none() || text.contains("flag"));
                }
                Err(error) => prop_assert_eq!(error.status(), 422),
            }
        }
    }
}
