//! Reads environment variables and collects every error.

use std::{collections::HashMap, ops::RangeInclusive};

use url::Url;

use crate::parse::parse_bool;

/// Environment variables, and the errors found so far.
pub(super) struct Vars {
    vars: HashMap<String, String>,
    pub(super) errors: Vec<String>,
}

impl Vars {
    /// Takes all variables that are not blank.
    pub(super) fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let vars = vars.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
        Self { vars, errors: Vec::new() }
    }

    /// Returns the value without surrounding spaces.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(|value| value.trim().to_owned())
    }

    /// Returns whether a variable is set.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.vars.contains_key(name)
    }

    /// Returns the value of the first name that is set, the second being an alias.
    pub(super) fn first(&self, names: [&str; 2]) -> Option<String> {
        names.into_iter().find_map(|name| self.text(name))
    }

    /// Records an error. `requirement` must not repeat the value, which may be secret.
    pub(super) fn push_error(&mut self, name: &str, requirement: &str) {
        self.errors.push(format!("{name} {requirement}"));
    }

    /// Parses a value. Records an error and returns `None` if it is invalid.
    pub(super) fn parse<T>(
        &mut self,
        name: &str,
        requirement: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&self.text(name)?);
        if parsed.is_none() {
            self.push_error(name, requirement);
        }
        parsed
    }

    /// Parses an integer.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        name: &str,
        default: T,
        range: RangeInclusive<i64>,
    ) -> T {
        let requirement = format!("must be an integer from {} to {}", range.start(), range.end());
        let parse = |text: &str| T::try_from(text.parse().ok().filter(|number| range.contains(number))?).ok();
        self.parse(name, &requirement, parse).unwrap_or(default)
    }

    /// Parses a boolean. The default is false.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.parse(name, "must be true or false", parse_bool).unwrap_or(false)
    }

    /// Parses the URL of a website, and removes trailing slashes.
    pub(super) fn url(&mut self, name: &str) -> Option<String> {
        self.parse(name, "must be an http:// or https:// URL", |text| {
            let url = Url::parse(text).ok()?;
            let is_valid = matches!(url.scheme(), "http" | "https") && url.has_host();
            is_valid.then(|| text.trim_end_matches('/').to_owned())
        })
    }
}

/// Returns the elements of a comma-separated list.
pub(super) fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}
