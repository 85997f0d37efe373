//! What a handler may know about the client, beside the checked inputs.

use std::{
    future::{Ready, ready},
    net::{IpAddr, Ipv4Addr},
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse, dev::Payload, http::header, web::Data,
};
use application::{
    rate_limit::{RateLimitClass, Subject},
    sessions::Caller,
};
use domain::page::{Page, PageSize};
use serde::Serialize;

use super::{
    bearer::bearer,
    client_addr::{ClientInfo, address_of},
    rate_limit,
};
use crate::{
    error::{ApiError, Result},
    pagination::{List, PageInfo, PageParams, Paging},
    state::AppState,
};

/// A request without its body, and the state that serves it.
#[derive(Clone)]
pub(crate) struct RequestContext {
    pub request: HttpRequest,
    pub state: Data<AppState>,
}

impl FromRequest for RequestContext {
    type Error = ApiError;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::new(request))
    }
}

impl RequestContext {
    pub(super) fn new(request: &HttpRequest) -> Result<Self> {
        let state = request.app_data::<Data<AppState>>().cloned();
        let state =
            state.ok_or_else(|| domain::Error::internal("the application state is not registered"))?;
        Ok(Self { request: request.clone(), state })
    }

    /// Returns the token of the `Authorization` header.
    pub(crate) fn bearer(&self) -> Option<&str> {
        bearer(self.request.headers())
    }

    /// Returns the address that the request is counted to.
    pub(crate) fn address(&self) -> IpAddr {
        address_of(&self.request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Returns the `User-Agent` header.
    pub(crate) fn user_agent(&self) -> Option<String> {
        self.request.headers().get(header::USER_AGENT)?.to_str().ok().map(str::to_owned)
    }

    /// Returns whether a browser asks for a page rather than for data.
    pub(crate) fn accepts_html(&self) -> bool {
        let accept = self.request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    }

    /// Counts a request that names an account which need not be the caller's, or that names none.
    pub(crate) async fn limit_by_name(&self, class: RateLimitClass, name: Option<&str>) -> Result<()> {
        rate_limit::enforce_by_name(&self.state, &self.request, class, name).await
    }

    /// Counts a request to the caller's account.
    pub(crate) async fn limit_by_caller(&self, class: RateLimitClass, caller: Caller) -> Result<()> {
        rate_limit::enforce(&self.state, &self.request, class, Subject::Account(caller.user)).await
    }

    /// Returns the page of `list` that the parameters select.
    pub(crate) fn paging(&self, params: &PageParams, list: List, default_size: PageSize) -> Result<Paging> {
        params.paging(&self.state.cursors, list, default_size)
    }

    /// Returns a page of a list: `body` makes its body of the items and the metadata of the page.
    pub(crate) fn list_response<T, B: Serialize>(
        &self,
        paging: &Paging,
        page: Page<T>,
        body: impl FnOnce(Vec<T>, PageInfo) -> B,
    ) -> Result<HttpResponse> {
        paging.respond(&self.state.cursors, &self.request, page, body)
    }

    /// Returns the base URL of this server: `PUBLIC_URL`, else the address that the request was sent to.
    pub(crate) fn base_url(&self) -> String {
        if let Some(url) = &self.state.public_url {
            return url.to_string();
        }
        let extensions = self.request.extensions();
        let client = extensions.get::<ClientInfo>();
        let scheme = if client.is_some_and(|client| client.is_secure) { "https" } else { "http" };
        let forwarded = client.and_then(|client| client.host.as_deref()).filter(|host| is_host(host));
        format!("{scheme}://{}", forwarded.unwrap_or_else(|| host(&self.request)))
    }
}

/// Returns the host that the client addressed, if it is valid.
fn host(request: &HttpRequest) -> &str {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(actix_web::http::uri::Authority::as_str));
    host.filter(|host| is_host(host)).unwrap_or("localhost")
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}
