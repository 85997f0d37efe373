//! The context of a request. Handlers check, in the contract's order: whether the body is well-formed, who the caller
//! is, and whether the values are valid.

use std::{
    future::Ready,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse, dev::Payload, http::header, web::Data,
};
use application::{
    Services,
    rate_limit::{RateLimitClass, Subject},
    sessions::Caller,
    tokens::{AccessClaims, AccessToken},
};
use domain::{
    notifications::NotificationId,
    page::{Page, PageNumber, PageRequest, PageSize, PageStart},
    users::UserId,
};

use serde::Serialize;

use crate::{
    error::{ApiError, FieldError, Result},
    pagination::{self, Cursors, LinkTarget, List, PageInfo, Paging},
    parse::{MAX_NUMBER, parse_int},
    request::{
        bearer::bearer,
        body,
        client_addr::{ClientInfo, address_of},
        fields::Fields,
        multipart::Upload,
        query::Query,
        rate_limit,
    },
    state::AppState,
};

/// A request and the state that serves it.
pub(crate) struct RequestContext {
    request: HttpRequest,
    payload: Payload,
    pub state: Data<AppState>,
    query: Query,
}

impl FromRequest for RequestContext {
    type Error = ApiError;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let state = request.app_data::<Data<AppState>>().cloned();
        let query = Query::read(request.query_string());
        std::future::ready(match state {
            Some(state) => Ok(Self { request: request.clone(), payload: payload.take(), state, query }),
            None => Err(domain::Error::internal("the application is not registered").into()),
        })
    }
}

impl RequestContext {
    /// Runs a use case. It goes on to its end also when the client goes away: a write that has begun is finished, and no
    /// database connection is torn.
    pub(crate) async fn run<T, F>(&self, work: impl FnOnce(Arc<Services>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        Ok(self.state.run(work).await?)
    }

    /// Runs a use case that may send a file somewhere, which takes as long as it takes.
    pub(crate) async fn run_with_file<T, F>(
        &self,
        has_file: bool,
        work: impl FnOnce(Arc<Services>) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        Ok(if has_file { self.state.run_with_upload(work).await? } else { self.state.run(work).await? })
    }

    /// The token of the `Authorization` header.
    pub(crate) fn bearer(&self) -> Option<&str> {
        bearer(self.request.headers())
    }

    /// The address that the request counts for.
    pub(crate) fn address(&self) -> IpAddr {
        address_of(&self.request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Counts what names an account that need not be the caller's, or none.
    pub(crate) async fn limit(&self, class: RateLimitClass, name: Option<&str>) -> Result<()> {
        rate_limit::enforce_by_name(&self.state, &self.request, class, name).await
    }

    /// Counts what only the caller can do.
    pub(crate) async fn limit_caller(&self, class: RateLimitClass, caller: Caller) -> Result<()> {
        rate_limit::enforce(&self.state, &self.request, class, Subject::Account(caller.user)).await
    }

    /// Who is calling: a verified and active user with a live session.
    pub(crate) async fn verified(&self) -> Result<Caller> {
        let claims = self.claims()?;
        if let Some(caller) = self.state.services.sessions.authenticate_cached(&claims)? {
            return Ok(caller);
        }
        self.run(|services| async move { services.sessions.authenticate_claims(claims).await }).await
    }

    /// What the caller's token says, which has been read already if the caller was held to a limit.
    fn claims(&self) -> Result<AccessClaims> {
        if let Some(claims) = self.request.extensions().get::<AccessClaims>() {
            return Ok(*claims);
        }
        let token = AccessToken(self.bearer().ok_or(domain::Error::NOT_AUTHENTICATED)?);
        Ok(self.state.services.accounts.tokens.verify_access(token)?)
    }

    /// Who is calling, where strangers are welcome too: a bearer that is no good is none.
    pub(crate) async fn viewer(&self) -> Result<Option<UserId>> {
        if self.bearer().is_none() {
            return Ok(None);
        }
        match self.verified().await {
            Ok(caller) => Ok(Some(caller.user)),
            Err(error) if matches!(error.status(), 401 | 403) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An id in the path. One that cannot exist becomes one that does not.
    pub(crate) fn id(&self, name: &str) -> Result<i64> {
        let text = self.request.match_info().query(name);
        let id = parse_int(text).ok_or_else(|| {
            let message = "Input should be a valid integer, unable to parse string as an integer";
            ApiError::invalid(vec![FieldError::new("path", name, "int_parsing", message)])
        })?;
        Ok(if (1..=MAX_NUMBER).contains(&id) { id } else { -1 })
    }

    /// A segment of the path.
    pub(crate) fn segment(&self, name: &str) -> &str {
        self.request.match_info().query(name)
    }

    /// A parameter of the query; of two the last counts, an empty one is absent.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.parameter(name)
    }

    /// A flag of the query.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        self.query.flag(name)
    }

    /// The notification after which what came is wanted.
    pub(crate) fn since(&self) -> Result<Option<NotificationId>> {
        self.query.since()
    }

    /// Which page of `list` is wanted.
    pub(crate) fn page(&self, list: List, default_size: PageSize) -> Result<Paging> {
        let (number, size) = self.query.page()?;
        let (number, size) = (number.unwrap_or(PageNumber::FIRST), size.unwrap_or(default_size));
        let start = match self.parameter("cursor") {
            Some(cursor) => PageStart::After(self.cursors().read(&list, cursor)?),
            None => PageStart::Page(number),
        };
        Ok(Paging { list, number, request: PageRequest { start, size }, is_walked: true })
    }

    /// Makes and reads cursors.
    pub(crate) fn cursors(&self) -> &Cursors {
        &self.state.cursors
    }

    /// Returns a page of a list: `body` makes the body of the items and the page's metadata.
    pub(crate) fn list_response<T, B: Serialize>(
        &self,
        paging: &Paging,
        page: Page<T>,
        body: impl FnOnce(Vec<T>, PageInfo) -> B,
    ) -> Result<HttpResponse> {
        let filters = self.query.pairs().filter(|(name, _)| !matches!(*name, "page" | "cursor")).collect();
        let target = LinkTarget { path: self.request.path(), filters };
        pagination::respond(self.cursors(), &target, paging, page, body)
    }

    /// The fields of a JSON body.
    pub(crate) async fn json(&mut self) -> Result<Fields> {
        body::json(&self.request, &mut self.payload, &self.state.bodies).await
    }

    /// The fields of a JSON body, which may be absent or null.
    pub(crate) async fn optional_json(&mut self) -> Result<Option<Fields>> {
        let has_body = self.request.headers().contains_key(header::TRANSFER_ENCODING)
            || self.request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        if !has_body {
            return Ok(None);
        }
        body::optional_json(&self.request, &mut self.payload, &self.state.bodies).await
    }

    /// The fields of a form, multipart or JSON body.
    pub(crate) async fn form(&mut self) -> Result<Fields> {
        Ok(body::form(&self.request, self.payload.take(), &self.state.bodies, None).await?.0)
    }

    /// Who is calling, and a body that may have a file. Broken JSON is told to everybody, as everywhere; other bodies
    /// are not received from strangers.
    pub(crate) async fn verified_form(&mut self) -> Result<(Caller, Fields, Option<Upload>)> {
        if body::is_json(&self.request) {
            let fields = self.form().await?;
            return Ok((self.verified().await?, fields, None));
        }
        let caller = self.verified().await?;
        let (payload, uploader) = (self.payload.take(), Some(caller.user));
        let (fields, file) = body::form(&self.request, payload, &self.state.bodies, uploader).await?;
        if file.is_some() {
            self.limit_caller(RateLimitClass::Upload, caller).await?;
        }
        Ok((caller, fields, file))
    }

    /// What the client calls itself.
    pub(crate) fn client(&self) -> Option<String> {
        self.request.headers().get(header::USER_AGENT)?.to_str().ok().map(str::to_owned)
    }

    /// How this server is reached: as it is set, else as this request did.
    pub(crate) fn base_url(&self) -> String {
        if let Some(url) = &self.state.public_url {
            return url.to_string();
        }
        let extensions = self.request.extensions();
        let client = extensions.get::<ClientInfo>();
        let scheme = if client.is_some_and(|client| client.is_secure) { "https" } else { "http" };
        let named = client.and_then(|client| client.host.as_deref()).filter(|name| is_name(name));
        format!("{scheme}://{}", named.unwrap_or_else(|| host(&self.request)))
    }

    /// Whether a page is wanted rather than data: a browser asks.
    pub(crate) fn wants_html(&self) -> bool {
        let accept = self.request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    }

    /// The request itself, for what the framework answers by itself.
    pub(crate) fn request(&self) -> &HttpRequest {
        &self.request
    }
}

/// The name that the client calls us by, if it is one.
fn host(request: &HttpRequest) -> &str {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let named = named.or_else(|| request.uri().authority().map(actix_web::http::uri::Authority::as_str));
    named.filter(|name| is_name(name)).unwrap_or("localhost")
}

fn is_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}
