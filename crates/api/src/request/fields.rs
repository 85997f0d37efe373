//! The fields of a body or a query: read in one way, with every error collected.
//!
//! Errors use FastAPI's vocabulary, which clients of the existing service understand.

use domain::Violation;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::upload_slots::Upload;
use crate::error::{ApiError, FieldError, Result};

/// A type whose values are read from the fields of a body or a query. Declare one with `request_fields!`.
pub(crate) trait FromFields: Sized {
    /// The names of its fields.
    const NAMES: &'static [&'static str];
    /// Maximum size of a body of these fields, without its file.
    const MAX_BODY_BYTES: usize;

    /// Reads all fields. Records an error and returns `None` if one of them is invalid.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

/// The type of a field. Optional types read an absent field as `None`.
pub(crate) trait FieldType: Sized {
    /// Whether values may be longer than a few words, such as the text of a post.
    const IS_LONG_TEXT: bool = false;

    /// Reads the field `name`. Records an error and returns `None` if it is missing or invalid.
    fn read(fields: &mut Fields, name: &'static str) -> Option<Self>;
}

/// Returns the maximum size of a body. One with a long text fits the longest post with every character escaped, and
/// enough more to report that a text is too long.
pub(crate) const fn max_body_bytes(has_long_text: bool) -> usize {
    if has_long_text { 256 * 1024 } else { 4 * 1024 }
}

/// Declares a struct of request fields once: its fields, how they are read and, by the derived traits, their schema.
///
/// `deserr`, `garde` and `validator` cannot give the contract's errors: `deserr` reports them in the order of the input
/// and not of the declaration, the other two only see values that `serde` has accepted, and it stops at the first error.
macro_rules! request_fields {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::request::FromFields for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
            const MAX_BODY_BYTES: usize = $crate::request::max_body_bytes(
                false $(|| <$type as $crate::request::FieldType>::IS_LONG_TEXT)*
            );

            fn from_fields(fields: &mut $crate::request::Fields) -> Option<Self> {
                $(let $field = $crate::request::FieldType::read(fields, stringify!($field));)*
                Some(Self { $($field: $field?,)* })
            }
        }
    };
}
pub(crate) use request_fields;

/// Some editors and programs begin a text in UTF-8 with it. JSON parsers may ignore it (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The fields of a body or a query while they are read. The last of several with one name counts.
pub(crate) struct Fields {
    /// `None` for a body that is not a set of fields, for which an error is recorded already.
    values: Option<Map<String, Value>>,
    part: &'static str,
    /// The uploaded file of a multipart body.
    file: Option<Upload>,
    errors: Vec<FieldError>,
    /// The first violated rule that is not a matter of shape.
    refusal: Option<domain::Error>,
}

impl Fields {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// Only if the JSON is malformed. Another shape than an object is reported together with the errors of the fields.
    pub(crate) fn from_json(body: &[u8]) -> Result<Self> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::missing_body());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self::new(members, "body")),
            Ok(_) => Ok(Self::shapeless("value_error", "Input should be a valid dictionary or object")),
            Err(_) => {
                Err(ApiError::invalid(vec![FieldError::new("body", "", "json_invalid", "JSON decode error")]))
            }
        }
    }

    /// The fields of a form, and its file.
    pub(crate) fn from_form(
        fields: impl IntoIterator<Item = (String, String)>,
        file: Option<Upload>,
    ) -> Self {
        let values = fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        Self { file, ..Self::new(values, "body") }
    }

    /// The parameters of a query string. A blank one is absent.
    pub(crate) fn from_query(query: &str) -> Self {
        let parameters = form_urlencoded::parse(query.as_bytes()).into_owned();
        let mut fields = Self { part: "query", ..Self::from_form(parameters, None) };
        let is_blank = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
        fields.values.iter_mut().for_each(|values| values.retain(|_, value| !is_blank(value)));
        fields
    }

    /// A query string that stands for a body.
    pub(crate) fn body_from_query(query: &str) -> Self {
        Self { part: "body", ..Self::from_query(query) }
    }

    /// The fields of an absent body: a single error.
    pub(crate) fn missing_body() -> Self {
        Self::shapeless("missing", "Field required")
    }

    fn shapeless(kind: &'static str, message: &str) -> Self {
        let errors = vec![FieldError::new("body", "", kind, message)];
        Self { errors, values: None, ..Self::new(Map::new(), "body") }
    }

    fn new(values: Map<String, Value>, part: &'static str) -> Self {
        Self { values: Some(values), part, file: None, errors: Vec::new(), refusal: None }
    }

    /// Returns whether a field has this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.values.as_ref().is_some_and(|values| values.contains_key(name))
    }

    /// Reads a value of its declared type.
    ///
    /// # Errors
    /// 422 with all errors in the order of the declaration, else the first rule that is not a matter of shape.
    pub(crate) fn read<T: FromFields>(mut self) -> Result<T> {
        let value = T::from_fields(&mut self);
        if !self.errors.is_empty() {
            return Err(ApiError::invalid(self.errors));
        }
        if let Some(refusal) = self.refusal {
            return Err(refusal.into());
        }
        value.ok_or_else(|| domain::Error::internal("a field is invalid without an error").into())
    }

    /// Removes a field and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.values.as_mut()?.remove(name)
    }

    pub(super) fn take_file(&mut self) -> Option<Upload> {
        self.file.take()
    }

    /// Returns the uploaded file, if there is one.
    pub(crate) fn file(&self) -> Option<&Upload> {
        self.file.as_ref()
    }

    /// Records that a required field is absent, unless the body as a whole is.
    pub(super) fn push_missing(&mut self, name: &str) {
        if self.values.is_some() {
            self.push(name, "missing", "Field required");
        }
    }

    /// Records an error.
    pub(super) fn push(&mut self, name: &str, kind: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError::new(self.part, name, kind, message));
    }

    /// Records a violated rule of a domain type.
    pub(super) fn push_violation(&mut self, violation: &Violation) {
        self.errors.push(FieldError::of(self.part, violation));
    }

    /// Records a violated rule that counts only if the shape of all fields is right.
    pub(super) fn refuse(&mut self, refusal: domain::Error) {
        self.refusal.get_or_insert(refusal);
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        passwords::NewPassword,
        users::{Email, Username},
    };

    use super::*;

    request_fields! {
        struct Registration {
            username: Username,
            email: Email,
            password: NewPassword,
        }
    }

    request_fields! {
        struct Flag {
            flag: Option<bool>,
        }
    }

    fn errors(result: Result<impl Sized>) -> Vec<(String, String)> {
        let Err(error) = result else { return Vec::new() };
        error.errors().iter().map(|error| (error.loc.join("."), error.kind.to_owned())).collect()
    }

    fn register(body: &str) -> Result<(Username, Email, NewPassword)> {
        let Registration { username, email, password } = Fields::from_json(body.as_bytes())?.read()?;
        Ok((username, email, password))
    }

    #[test]
    fn every_error_is_reported_in_the_order_of_the_declaration() {
        let errors = |body| errors(register(body));
        let pair = |place: &str, kind: &str| (place.to_owned(), kind.to_owned());
        assert_eq!(errors(r#"{"username":"ann","email":"a@b.example","password":"long enough"}"#), []);
        assert_eq!(
            errors("{}"),
            [
                pair("body.username", "missing"),
                pair("body.email", "missing"),
                pair("body.password", "missing")
            ]
        );
        assert_eq!(
            errors(r#"{"email":"x","username":1,"password":"short"}"#),
            [pair("body.username", "string_type"), pair("body.email", "value_error")]
        );
        assert_eq!(
            errors(r#"{"username":"ab","email":null,"password":"12345678"}"#)[0],
            pair("body.username", "string_too_short")
        );
        assert_eq!(errors(""), [pair("body", "missing")]);
        assert_eq!(errors("[]"), [pair("body", "value_error")]);
        assert_eq!(errors("{"), [pair("body", "json_invalid")]);
    }

    #[test]
    fn refusal_counts_only_if_the_shape_is_right() {
        let short = register(r#"{"username":"ann","email":"a@b.example","password":"short"}"#).unwrap_err();
        assert_eq!(short.code(), "password_too_short");
    }

    #[test]
    fn flags_are_booleans_or_words() {
        let flag = |body: &str| Fields::from_json(body.as_bytes())?.read().map(|Flag { flag }| flag);
        assert_eq!(flag(r#"{"flag":true}"#).unwrap(), Some(true));
        assert_eq!(flag(r#"{"flag":"NO"}"#).unwrap(), Some(false));
        assert_eq!(flag(r#"{"flag":1}"#).unwrap(), Some(true));
        assert_eq!(flag(r#"{"flag":null}"#).unwrap(), None);
        assert_eq!(errors(flag(r#"{"flag":"maybe"}"#))[0].1, "bool_parsing");
    }

    #[test]
    fn last_field_of_a_name_counts_and_blank_parameters_are_absent() {
        let form = [("flag", "yes"), ("flag", "no")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(Fields::from_form(form, None).read().map(|Flag { flag }| flag).unwrap(), Some(false));
        let query = |query| Fields::from_query(query).read().map(|Flag { flag }| flag).unwrap();
        assert_eq!(query("flag=yes&flag=n%6F"), Some(false));
        assert_eq!(query("flag=yes&flag=+"), None);
    }
}
