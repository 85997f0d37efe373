//! The inputs of handlers, checked in the order of the contract.

use std::pin::Pin;

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, web::Data};
use application::{
    sessions::Caller,
    tokens::{AccessClaims, AccessToken},
};

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
        let claims = self.claims()?;
        let caller = match self.state.services.sessions.authenticate_cached(&claims)? {
            Some(caller) => caller,
            None => {
                self.state
                    .run(|services| async move { services.sessions.authenticate_claims(claims).await })
                    .await?
            }
        };
        self.caller = Some(caller);
        Ok(caller)
    }

    /// Returns the claims of the access token, which the rate limit may have verified already.
    fn claims(&self) -> Result<AccessClaims> {
        if let Some(claims) = self.request.extensions().get::<AccessClaims>() {
            return Ok(*claims);
        }
        let token = AccessToken(bearer(self.request.headers()).ok_or(domain::Error::NOT_AUTHENTICATED)?);
        Ok(self.state.services.accounts.tokens.verify_access(token)?)
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
