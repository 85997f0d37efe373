//! The parameters of a query.

use domain::{
    notifications::NotificationId,
    page::{PageNumber, PageSize},
};

use crate::{
    error::{ApiError, FieldError, Result},
    parse::{MAX_NUMBER, parse_bool, parse_int},
};

/// What a request asks for behind the `?`.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// What cannot be read as a query has no parameters that we know.
    pub(crate) fn read(text: &str) -> Self {
        Self(serde_html_form::from_str(text).unwrap_or_default())
    }

    /// All parameters, as they came.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A parameter; of two the last counts, an empty one is absent.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.trim().is_empty())
    }

    /// A flag.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        let Some(value) = self.parameter(name) else { return Ok(false) };
        parse_bool(value).ok_or_else(|| {
            let message = "Input should be a valid boolean, unable to interpret input";
            ApiError::invalid(vec![FieldError::new("query", name, "bool_parsing", message)])
        })
    }

    /// The notification after which what came is wanted.
    pub(crate) fn since(&self) -> Result<Option<NotificationId>> {
        let mut errors = Vec::new();
        let since = self.number("since", 0, MAX_NUMBER, &mut errors);
        if errors.is_empty() { Ok(since.map(NotificationId)) } else { Err(ApiError::invalid(errors)) }
    }

    /// Which page of a list is wanted, and of which size; `limit` is another name for `page_size`.
    pub(crate) fn page(&self) -> Result<(Option<PageNumber>, Option<PageSize>)> {
        let mut errors = Vec::new();
        let number = self.number("page", 1, MAX_NUMBER, &mut errors);
        let size = self.number("page_size", 1, PageSize::MAX.get(), &mut errors);
        let limit = self.number("limit", 1, PageSize::MAX.get(), &mut errors);
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        let number = number.map(PageNumber::parse).transpose().map_err(domain::Error::from)?;
        let size = size.or(limit).map(PageSize::parse).transpose().map_err(domain::Error::from)?;
        Ok((number, size))
    }

    fn number(&self, name: &str, min: i64, max: i64, errors: &mut Vec<FieldError>) -> Option<i64> {
        let text = self.parameter(name)?;
        let mut wrong = |kind, message: String| errors.push(FieldError::new("query", name, kind, message));
        match parse_int(text) {
            None => wrong(
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer".into(),
            ),
            Some(number) if number < min => {
                wrong("greater_than_equal", format!("Input should be greater than or equal to {min}"));
            }
            Some(number) if number > max => {
                wrong("less_than_equal", format!("Input should be less than or equal to {max}"));
            }
            Some(number) => return Some(number),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_within_their_bounds_are_read_and_others_refused(page in -5i64..=i64::MAX, size in -5i64..300) {
            let query = Query::read(&format!("page={page}&page_size={size}"));
            let is_good = (1..=MAX_NUMBER).contains(&page) && (1..=100).contains(&size);
            match query.page() {
                Ok((number, read)) => {
                    prop_assert!(is_good);
                    prop_assert_eq!((number.map(PageNumber::get), read.map(PageSize::get)), (Some(page), Some(size)));
                }
                Err(error) => prop_assert!(!is_good && error.status() == 422),
            }
        }

        #[test]
        fn any_text_is_a_query(text in "(?s).{0,60}") {
            let query = Query::read(&text);
            let (page, since, flag) = (query.page().err(), query.since().err(), query.flag("page").err());
            for error in [page, since, flag].into_iter().flatten() {
                prop_assert_eq!(error.status(), 422);
            }
        }
    }
}
