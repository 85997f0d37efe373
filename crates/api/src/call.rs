//! A request, and what handlers ask of it, in the order in which the contract checks: whether the body can be read,
//! who is calling, whether the values are right.

use std::{
    future::Ready,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, http::header, web::Data};
use application::{
    Services,
    rate_limit::{RateLimitClass, Subject},
    sessions::Caller,
    tokens::{AccessClaims, AccessToken},
};
use domain::{
    notifications::NotificationId,
    page::{PageNumber, PageRequest, PageSize, Start},
    users::UserId,
};

use crate::{
    app::App,
    client::{Client, address_of},
    error::{ApiError, FieldError, Result},
    fields::Fields,
    limits,
    pages::{Cursors, List},
    query::Query,
    upload::{self, Upload},
    values::{MAX_NUMBER, parse_int},
};

/// A request.
pub(crate) struct Call {
    request: HttpRequest,
    payload: Payload,
    /// What serves it.
    pub app: Data<App>,
    query: Query,
}

impl FromRequest for Call {
    type Error = ApiError;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let app = request.app_data::<Data<App>>().cloned();
        let query = Query::read(request.query_string());
        std::future::ready(match app {
            Some(app) => Ok(Self { request: request.clone(), payload: payload.take(), app, query }),
            None => Err(domain::Error::internal("the application is not registered").into()),
        })
    }
}

impl Call {
    /// Runs a use case. It goes on to its end also when the client goes away: a write that has begun is finished, and no
    /// database connection is torn.
    pub(crate) async fn run<T, F>(&self, work: impl FnOnce(Arc<Services>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = domain::Result<T>> + Send + 'static,
    {
        Ok(self.app.run(work).await?)
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
        Ok(if has_file { self.app.run_with_file(work).await? } else { self.app.run(work).await? })
    }

    /// The token of the `Authorization` header.
    pub(crate) fn bearer(&self) -> Option<&str> {
        limits::bearer(self.request.headers())
    }

    /// The address that the request counts for.
    pub(crate) fn address(&self) -> IpAddr {
        address_of(&self.request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Counts what names an account that need not be the caller's, or none.
    pub(crate) async fn limit(&self, class: RateLimitClass, name: Option<&str>) -> Result<()> {
        limits::take_named(&self.app, &self.request, class, name).await
    }

    /// Counts what only the caller can do.
    pub(crate) async fn limit_caller(&self, class: RateLimitClass, caller: Caller) -> Result<()> {
        limits::take(&self.app, &self.request, class, Subject::Account(caller.user)).await
    }

    /// Who is calling: a verified and active user with a live session.
    pub(crate) async fn verified(&self) -> Result<Caller> {
        let claims = self.claims()?;
        if let Some(caller) = self.app.services.sessions.recall(&claims)? {
            return Ok(caller);
        }
        self.run(|services| async move { services.sessions.admit_by(claims).await }).await
    }

    /// What the caller's token says, which has been read already if the caller was held to a limit.
    fn claims(&self) -> Result<AccessClaims> {
        if let Some(claims) = self.request.extensions().get::<AccessClaims>() {
            return Ok(*claims);
        }
        let token = AccessToken(self.bearer().ok_or(domain::Error::NOT_AUTHENTICATED)?);
        Ok(self.app.services.accounts.tokens.access(token)?)
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
            Some(cursor) => Start::After(self.cursors().read(&list, cursor)?),
            None => Start::Page(number),
        };
        Ok(Paging { list, number, request: PageRequest { start, size }, is_walked: true })
    }

    /// Makes and reads cursors.
    pub(crate) fn cursors(&self) -> &Cursors {
        &self.app.cursors
    }

    /// The query without what says which page.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (&str, &str)> {
        let pages = ["page", "cursor"];
        self.query.pairs().filter(move |(name, _)| !pages.contains(name))
    }

    /// The path as it was asked for.
    pub(crate) fn path(&self) -> &str {
        self.request.path()
    }

    /// The fields of a JSON body.
    pub(crate) async fn json(&mut self) -> Result<Fields> {
        upload::json(&self.request, &mut self.payload, &self.app.intake).await
    }

    /// The fields of a JSON body, which may be absent or null.
    pub(crate) async fn optional_json(&mut self) -> Result<Option<Fields>> {
        let has_body = self.request.headers().contains_key(header::TRANSFER_ENCODING)
            || self.request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        if !has_body {
            return Ok(None);
        }
        upload::optional_json(&self.request, &mut self.payload, &self.app.intake).await
    }

    /// The fields of a form, multipart or JSON body.
    pub(crate) async fn form(&mut self) -> Result<Fields> {
        Ok(upload::form(&self.request, self.payload.take(), &self.app.intake, None).await?.0)
    }

    /// Who is calling, and a body that may have a file. Broken JSON is told to everybody, as everywhere; other bodies
    /// are not received from strangers.
    pub(crate) async fn verified_form(&mut self) -> Result<(Caller, Fields, Option<Upload>)> {
        if upload::is_json(&self.request) {
            let fields = self.form().await?;
            return Ok((self.verified().await?, fields, None));
        }
        let caller = self.verified().await?;
        let (payload, uploader) = (self.payload.take(), Some(caller.user));
        let (fields, file) = upload::form(&self.request, payload, &self.app.intake, uploader).await?;
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
        if let Some(url) = &self.app.public_url {
            return url.to_string();
        }
        let extensions = self.request.extensions();
        let client = extensions.get::<Client>();
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

/// Which page of which list.
pub(crate) struct Paging {
    /// The list.
    pub list: List,
    /// The number, which is of no account if a cursor was given.
    pub number: PageNumber,
    /// The page.
    pub request: PageRequest,
    /// Whether the list is walked to a numbered page, and so has some that are too deep.
    pub is_walked: bool,
}
