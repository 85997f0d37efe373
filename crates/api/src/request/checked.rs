//! The inputs of handlers, checked in the order of the contract.

use std::pin::Pin;

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, web::Data};
use application::{sessions::Caller, tokens::AccessToken};

use super::{fields::Fields, headers::bearer};
use crate::{
    error::{ApiError, Result},
    state::AppState,
};

/// The inputs of a handler: one, or a tuple of several.
///
/// actix polls the arguments of a handler concurrently, so that the first of them to fail would decide on the response.
/// This extractor passes all inputs through one phase after another: a malformed body is reported before a missing
/// token, and a missing token before an invalid value.
pub(crate) struct Checked<T: Input>(pub T::Value);

/// A kind of input. The first two phases do nothing by default.
pub(crate) trait Input {
    /// What the handler receives.
    type Value;

    /// Phase 1: reads the body, and reports it if it is malformed.
    async fn receive(_: &mut InputRequest) -> Result<()> {
        Ok(())
    }

    /// Phase 2: authenticates the caller.
    async fn authenticate(_: &mut InputRequest) -> Result<()> {
        Ok(())
    }

    /// Phase 3: checks the values.
    fn validate(request: &mut InputRequest) -> Result<Self::Value>;
}

/// The outcome of authenticating a request, if a middleware needed it already.
pub(crate) struct Authentication(pub(crate) domain::Result<Caller>);

/// A request on its way through the phases.
pub(crate) struct InputRequest {
    pub(super) request: HttpRequest,
    pub(super) state: Data<AppState>,
    pub(super) payload: Payload,
    pub(super) body: Option<Fields>,
    pub(super) caller: Option<Caller>,
}

impl InputRequest {
    /// Returns the caller: a verified and active user with a live session.
    ///
    /// # Errors
    /// 401 or 403 of the contract.
    pub(super) async fn authenticate(&mut self) -> Result<Caller> {
        if let Some(caller) = self.caller {
            return Ok(caller);
        }
        let known = self.request.extensions_mut().remove::<Authentication>();
        let caller = if let Some(Authentication(result)) = known {
            result?
        } else {
            let token = bearer(self.request.headers()).ok_or(domain::Error::NOT_AUTHENTICATED)?;
            let claims = self.state.services.accounts.tokens.verify_access(AccessToken(token))?;
            self.state.authenticate(claims).await?
        };
        self.caller = Some(caller);
        Ok(caller)
    }
}

impl<T: Input + 'static> FromRequest for Checked<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let state = request.app_data::<Data<AppState>>().cloned();
            let state =
                state.ok_or_else(|| domain::Error::internal("the application state is not registered"))?;
            let mut request = InputRequest { request, state, payload, body: None, caller: None };
            T::receive(&mut request).await?;
            T::authenticate(&mut request).await?;
            T::validate(&mut request).map(Self)
        })
    }
}

macro_rules! impl_input_for_tuple {
    ($($input:ident),+) => {
        impl<$($input: Input),+> Input for ($($input,)+) {
            type Value = ($($input::Value,)+);

            async fn receive(request: &mut InputRequest) -> Result<()> {
                $($input::receive(request).await?;)+
                Ok(())
            }

            async fn authenticate(request: &mut InputRequest) -> Result<()> {
                $($input::authenticate(request).await?;)+
                Ok(())
            }

            fn validate(request: &mut InputRequest) -> Result<Self::Value> {
                Ok(($($input::validate(request)?,)+))
            }
        }
    };
}

impl_input_for_tuple!(A, B);
impl_input_for_tuple!(A, B, C);
impl_input_for_tuple!(A, B, C, D);
