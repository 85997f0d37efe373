//! The development inbox: the mails of a server without SMTP.

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, HeaderValue},
    web::{Data, Json},
};
use api_types::format_timestamp;
use askama::Template;
use domain::{Error, mailer::Mail, users::Email};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    docs::page::Page,
    error::{ApiError, Result},
    request::{Checked, Query, has_own_host, request_fields},
    state::AppState,
};

/// A mail in the development inbox.
#[derive(Serialize, ToSchema)]
pub(crate) struct InboxMail {
    /// Address of the recipient.
    #[schema(example = "ann@example.com")]
    to: String,
    /// When the mail was sent.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    at: String,
    /// Subject of the mail.
    #[schema(example = "Your OTP Verification Code")]
    subject: String,
    /// Plain text of the mail.
    #[schema(example = "123456\n")]
    text: String,
    /// The code in the mail.
    #[schema(required, example = "123456")]
    otp: Option<String>,
    /// The link in the mail.
    #[schema(required, example = json!(null))]
    link: Option<String>,
}

impl InboxMail {
    fn of(mail: &Mail, at: chrono::DateTime<chrono::Utc>) -> Self {
        let line =
            |matches: fn(&str) -> bool| mail.text.lines().find(|line| matches(line)).map(str::to_owned);
        Self {
            to: mail.to.as_str().to_owned(),
            at: format_timestamp(at),
            subject: mail.subject.clone(),
            otp: line(|line| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit())),
            link: line(|line| line.starts_with("http://") || line.starts_with("https://")),
            text: mail.text.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    mails: Vec<InboxMail>,
}

/// Refuses a request that a page of a stranger may have caused, under a name of its own.
fn check_host(state: &AppState, request: &HttpRequest) -> Result<()> {
    if has_own_host(state, request) {
        return Ok(());
    }
    let text = "The inbox is not shown under this host: open it as localhost, or set PUBLIC_URL";
    Err(ApiError::new("host_not_allowed", text))
}

/// Returns a page of the mails, newest first. Only without an SMTP server.
#[utoipa::path(
    operation_id = "showInbox",
    tag = "development",
    responses(
        (status = 200, description = "The page", content_type = "text/html"),
        (status = 403, description = "`host_not_allowed`"),
        (status = 404, description = "`not_found`: mail is sent by SMTP")
    )
)]
#[get("/dev/inbox")]
pub(crate) async fn page(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse> {
    let inbox = state.inbox.as_ref().ok_or_else(|| ApiError::of_status(404))?;
    check_host(&state, &request)?;
    let mails = inbox.list().iter().map(|received| InboxMail::of(&received.mail, received.at)).collect();
    let mut response = Page::new(InboxPage { mails }.render().map_err(Error::internal)?).respond();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

request_fields! {
    /// Filters the mails.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    pub(crate) struct InboxFilter {
        /// Only mails to this address.
        to: Option<String>,
    }
}

/// Returns the newest mail, optionally to one address.
#[utoipa::path(
    operation_id = "getLatestMail",
    tag = "development",
    params(InboxFilter),
    responses(
        (status = 200, description = "The mail", body = InboxMail),
        (status = 403, description = "`host_not_allowed`"),
        (status = 404, description = "`not_found`: there is no such mail")
    )
)]
#[get("/dev/inbox/latest")]
pub(crate) async fn latest(
    Checked(filter): Checked<Query<InboxFilter>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<Json<InboxMail>> {
    let inbox = state.inbox.as_ref().ok_or_else(|| ApiError::of_status(404))?;
    check_host(&state, &request)?;
    let to = filter.to.as_deref().map(Email::parse).transpose().map_err(|_| ApiError::of_status(404))?;
    let received = inbox.latest(to.as_ref()).ok_or_else(|| ApiError::of_status(404))?;
    Ok(Json(InboxMail::of(&received.mail, received.at)))
}
