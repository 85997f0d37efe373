//! The kinds of input that handlers declare.

use std::marker::PhantomData;

use application::{
    rate_limit::{RateLimitClass, Subject},
    sessions::Caller,
};
use domain::{
    Error, comments::CommentId, notifications::NotificationId, posts::PostId, sessions::SessionId,
    users::UserId,
};

use super::{
    body,
    checked::{Input, InputRequest},
    field_types::INVALID_INTEGER,
    fields::{Fields, FromFields},
    headers::bearer,
    rate_limit,
};
use crate::{
    error::{ApiError, FieldError, Result},
    parse::parse_id,
};

/// The caller: a verified and active user with a live session.
pub(crate) struct AuthenticatedUser;

impl Input for AuthenticatedUser {
    type Value = Caller;

    async fn authenticate(request: &mut InputRequest) -> Result<()> {
        request.authenticate().await.map(drop)
    }

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        request.caller.ok_or_else(|| Error::NOT_AUTHENTICATED.into())
    }
}

/// The caller on routes that serve anonymous clients too. An invalid token counts as none.
pub(crate) struct OptionalUser;

impl Input for OptionalUser {
    type Value = Option<UserId>;

    async fn authenticate(request: &mut InputRequest) -> Result<()> {
        if bearer(request.request.headers()).is_none() {
            return Ok(());
        }
        match request.authenticate().await {
            Err(error) if !matches!(error.status(), 401 | 403) => Err(error),
            _ => Ok(()),
        }
    }

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        Ok(request.caller.map(|caller| caller.user))
    }
}

/// An id in the path. A segment that is not an integer is a 422; an id out of range becomes one that does not exist.
pub(crate) struct PathId<T>(PhantomData<T>);

/// The type of an id in a path.
pub(crate) trait Id {
    /// The name of its segment in path patterns.
    const SEGMENT: &'static str;

    fn from_i64(id: i64) -> Self;
}

macro_rules! impl_id {
    ($($id:ident: $segment:literal),*) => {
        $(impl Id for $id {
            const SEGMENT: &'static str = $segment;

            fn from_i64(id: i64) -> Self {
                Self(id)
            }
        })*
    };
}

impl_id!(
    PostId: "post_id",
    CommentId: "comment_id",
    UserId: "user_id",
    NotificationId: "notification_id",
    SessionId: "session_id"
);

impl<T: Id> Input for PathId<T> {
    type Value = T;

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        let id = parse_id(request.request.match_info().query(T::SEGMENT)).ok_or_else(|| {
            ApiError::invalid(vec![FieldError::new("path", T::SEGMENT, "int_parsing", INVALID_INTEGER)])
        })?;
        Ok(T::from_i64(id))
    }
}

/// The parameters of the query.
pub(crate) struct Query<T>(PhantomData<T>);

impl<T: FromFields> Input for Query<T> {
    type Value = T;

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        Fields::from_query(request.request.query_string()).read()
    }
}

/// A JSON body.
pub(crate) struct JsonBody<T>(PhantomData<T>);

impl<T: FromFields> Input for JsonBody<T> {
    type Value = T;

    async fn receive(request: &mut InputRequest) -> Result<()> {
        let InputRequest { request, payload, body, .. } = request;
        *body = Some(Fields::from_json(&body::read_json::<T>(request, payload).await?)?);
        Ok(())
    }

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        validate_body(request)
    }
}

/// A JSON body that may be absent or null.
pub(crate) struct OptionalJsonBody<T>(PhantomData<T>);

impl<T: FromFields> Input for OptionalJsonBody<T> {
    type Value = Option<T>;

    async fn receive(request: &mut InputRequest) -> Result<()> {
        let InputRequest { request, payload, body, .. } = request;
        *body = body::read_optional_json::<T>(request, payload).await?;
        Ok(())
    }

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        request.body.take().map(Fields::read).transpose()
    }
}

/// A JSON body or, without one, query parameters of the same names.
pub(crate) struct JsonBodyOrQuery<T>(PhantomData<T>);

impl<T: FromFields> Input for JsonBodyOrQuery<T> {
    type Value = T;

    async fn receive(request: &mut InputRequest) -> Result<()> {
        OptionalJsonBody::<T>::receive(request).await
    }

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        if request.body.is_none() {
            let query = Fields::body_from_query(request.request.query_string());
            request.body = T::NAMES.iter().any(|name| query.contains(name)).then_some(query);
        }
        validate_body(request)
    }
}

/// A form, multipart or JSON body. Its files are ignored.
pub(crate) struct FormBody<T>(PhantomData<T>);

impl<T: FromFields> Input for FormBody<T> {
    type Value = T;

    async fn receive(request: &mut InputRequest) -> Result<()> {
        let InputRequest { request, state, payload, body, .. } = request;
        *body = Some(body::read_form::<T>(request, payload.take(), &state.bodies, None).await?);
        Ok(())
    }

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        validate_body(request)
    }
}

/// A form, multipart or JSON body, the multipart one with a file, of an authenticated caller.
///
/// Malformed JSON is reported to everyone, as on all routes. Bodies of other formats may be large, so they are received
/// only after the caller is authenticated.
pub(crate) struct UploadBody<T>(PhantomData<T>);

impl<T: FromFields> Input for UploadBody<T> {
    type Value = T;

    async fn receive(request: &mut InputRequest) -> Result<()> {
        if body::is_json(&request.request) {
            FormBody::<T>::receive(request).await?;
        }
        Ok(())
    }

    async fn authenticate(request: &mut InputRequest) -> Result<()> {
        let caller = request.authenticate().await?;
        if request.body.is_some() {
            return Ok(());
        }
        let InputRequest { request, state, payload, body, .. } = request;
        let fields = body::read_form::<T>(request, payload.take(), &state.bodies, Some(caller.user)).await?;
        if fields.file().is_some() {
            let subject = Subject::Account(caller.user);
            rate_limit::enforce(state, request, RateLimitClass::Upload, subject).await?;
        }
        *body = Some(fields);
        Ok(())
    }

    fn validate(request: &mut InputRequest) -> Result<Self::Value> {
        validate_body(request)
    }
}

fn validate_body<T: FromFields>(request: &mut InputRequest) -> Result<T> {
    request.body.take().unwrap_or_else(Fields::missing_body).read()
}
