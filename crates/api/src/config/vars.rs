//! Reads environment variables and collects every error.

use std::collections::HashMap;

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

    /// Returns the value of the first name that is set, the second being an alias.
    pub(super) fn first(&self, names: [&str; 2]) -> Option<String> {
        names.into_iter().find_map(|name| self.text(name))
    }

    /// Records an error. `requirement` must not repeat the value, which may be secret.
    pub(super) fn push_error(&mut self, name: &str, requirement: &str) {
        self.errors.push(format!("{name} {requirement}"));
    }

    /// Parses a value.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self, name: &str, requirement: &str) -> Option<T> {
        let value = self.text(name)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.push_error(name, requirement);
        }
        parsed
    }

    /// Parses an integer from `min` to `max`.
    pub(super) fn number(&mut self, name: &str, default: Option<i64>, min: i64, max: i64) -> Option<u64> {
        let Some(value) = self.text(name) else { return default.and_then(|value| value.try_into().ok()) };
        match value.parse::<i64>() {
            Ok(value) if (min..=max).contains(&value) => u64::try_from(value).ok(),
            _ if max == i64::MAX => {
                self.push_error(name, &format!("must be an integer of at least {min}"));
                None
            }
            _ => {
                self.push_error(name, &format!("must be an integer from {min} to {max}"));
                None
            }
        }
    }

    pub(super) fn number_or(&mut self, name: &str, default: i64, min: i64, max: i64) -> i64 {
        self.number(name, Some(default), min, max)
            .and_then(|value| i64::try_from(value).ok())
            .unwrap_or(default)
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(value) = self.text(name) else { return default };
        parse_bool(&value).unwrap_or_else(|| {
            self.push_error(name, "must be true or false");
            default
        })
    }
}
