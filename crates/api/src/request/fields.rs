//! The fields of a body: JSON, a form or multipart, read one way, with every mistake collected.
//!
//! Mistakes are named as `FastAPI` names them, since clients of such services read those names.

use std::collections::HashMap;

use domain::{
    Violation,
    accounts::NewPassword,
    users::{Email, Username},
};
use serde_json::Value;

use crate::{
    error::{ApiError, FieldError, Result},
    parse::parse_bool,
};

/// The fields of a body, while they are being read.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: HashMap<String, Value>,
    errors: Vec<FieldError>,
    /// The first rule that was broken which is no matter of shape.
    refused: Option<domain::Error>,
}

impl Fields {
    /// The fields of a JSON object. Broken JSON is told at once, another shape when the fields are read.
    pub(crate) fn from_json(body: &[u8]) -> Result<Self> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::wrong("missing", "Field required"));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(values)) => Ok(Self { values: values.into_iter().collect(), ..Self::default() }),
            Ok(_) => Ok(Self::wrong("value_error", "Input should be a valid dictionary or object")),
            Err(_) => {
                Err(ApiError::invalid(vec![FieldError::new("body", "", "json_invalid", "JSON decode error")]))
            }
        }
    }

    /// The fields of a form; of two with one name the last counts.
    pub(crate) fn from_form(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        Self { values, ..Self::default() }
    }

    fn wrong(kind: &'static str, message: &str) -> Self {
        Self { errors: vec![FieldError::new("body", "", kind, message)], ..Self::default() }
    }

    /// Whether the body as a whole is no set of fields: then no field is missing.
    fn is_shapeless(&self) -> bool {
        self.errors.iter().any(|error| error.loc.len() == 1)
    }

    fn push(&mut self, name: &str, kind: &'static str, message: &str) {
        self.errors.push(FieldError::new("body", name, kind, message));
    }

    /// Notes a text where a file belongs.
    pub(crate) fn not_a_file(&mut self, name: &str) {
        self.push(name, "value_error", "Input should be a file");
    }

    /// Notes a value that breaks a rule of its type.
    pub(crate) fn check<T>(&mut self, checked: Result<T, Violation>) -> Option<T> {
        checked.map_err(|violation| self.errors.push(FieldError::of("body", &violation))).ok()
    }

    /// A text that must be there.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.values.remove(name) {
            Some(Value::String(text)) => return Some(text),
            Some(_) => self.push(name, "string_type", "Input should be a valid string"),
            None if self.is_shapeless() => {}
            None => self.push(name, "missing", "Field required"),
        }
        None
    }

    /// A text that may be absent or null.
    pub(crate) fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.values.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.push(name, "string_type", "Input should be a valid string");
                None
            }
        }
    }

    /// True, false or a word for either; absent, null or empty is none.
    pub(crate) fn optional_flag(&mut self, name: &str) -> Option<bool> {
        let flag = match self.values.remove(name) {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) if text.trim().is_empty() => return None,
            Some(Value::Bool(flag)) => Some(flag),
            Some(Value::String(text)) => parse_bool(&text),
            Some(Value::Number(number)) => parse_bool(&number.to_string()),
            Some(_) => None,
        };
        if flag.is_none() {
            self.push(name, "bool_parsing", "Input should be a valid boolean, unable to interpret input");
        }
        flag
    }

    /// A name to be.
    pub(crate) fn username(&mut self) -> Option<Username> {
        let text = self.text("username")?;
        self.check(Username::parse(&text))
    }

    /// An e-mail address.
    pub(crate) fn email(&mut self) -> Option<Email> {
        let text = self.text("email")?;
        self.check(Email::parse(&text))
    }

    /// A password to be. One that is too short is refused only if nothing else is wrong.
    pub(crate) fn new_password(&mut self, name: &'static str) -> Option<NewPassword> {
        let text = self.text(name)?;
        match NewPassword::parse(name, &text) {
            Ok(password) => Some(password),
            Err(domain::Error::Invalid(violations)) => {
                self.errors.extend(violations.iter().map(|violation| FieldError::of("body", violation)));
                None
            }
            Err(refused) => {
                self.refused.get_or_insert(refused);
                None
            }
        }
    }

    /// What `read` finds, if there was no mistake.
    pub(crate) fn read<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T> {
        let found = read(&mut self);
        if !self.errors.is_empty() {
            return Err(ApiError::invalid(self.errors));
        }
        if let Some(refused) = self.refused {
            return Err(refused.into());
        }
        found.ok_or_else(|| domain::Error::internal("a field is missing without a word").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(result: Result<impl Sized>) -> Vec<(String, String)> {
        let Err(error) = result else { return Vec::new() };
        error.errors().iter().map(|error| (error.loc.join("."), error.kind.to_owned())).collect()
    }

    fn register(body: &str) -> Result<()> {
        Fields::from_json(body.as_bytes())?.read(|fields| {
            let (name, email, password) =
                (fields.username(), fields.email(), fields.new_password("password"));
            name.and(email).and(password).map(drop)
        })
    }

    #[test]
    fn every_mistake_is_told() {
        let told = |body| errors(register(body));
        let pair = |place: &str, kind: &str| (place.to_owned(), kind.to_owned());
        assert_eq!(told(r#"{"username":"ann","email":"a@b.example","password":"long enough"}"#), []);
        assert_eq!(
            told("{}"),
            [
                pair("body.username", "missing"),
                pair("body.email", "missing"),
                pair("body.password", "missing")
            ]
        );
        assert_eq!(
            told(r#"{"username":1,"email":"x","password":"short"}"#),
            [pair("body.username", "string_type"), pair("body.email", "value_error")]
        );
        assert_eq!(
            told(r#"{"username":"ab","email":null,"password":"12345678"}"#)[0],
            pair("body.username", "string_too_short")
        );
        assert_eq!(told(""), [pair("body", "missing")]);
        assert_eq!(told("[]"), [pair("body", "value_error")]);
        assert_eq!(told("{"), [pair("body", "json_invalid")]);
    }

    #[test]
    fn a_rule_counts_only_if_the_shape_is_right() {
        let short = register(r#"{"username":"ann","email":"a@b.example","password":"short"}"#).unwrap_err();
        assert_eq!(short.code(), "password_too_short");
    }

    #[test]
    fn flags_are_words_or_booleans() {
        let flag = |body: &str| {
            Fields::from_json(body.as_bytes()).unwrap().read(|fields| Some(fields.optional_flag("flag")))
        };
        assert_eq!(flag(r#"{"flag":true}"#).unwrap(), Some(true));
        assert_eq!(flag(r#"{"flag":"NO"}"#).unwrap(), Some(false));
        assert_eq!(flag(r#"{"flag":1}"#).unwrap(), Some(true));
        assert_eq!(flag(r#"{"flag":null}"#).unwrap(), None);
        assert_eq!(errors(flag(r#"{"flag":"maybe"}"#))[0].1, "bool_parsing");
    }
}
