//! The development inbox: mails that were not sent by SMTP, since none is set.

use actix_web::{HttpResponse, get, http::header, web::Json};
use askama::Template;
use domain::{Error, mailer::Mail, users::Email};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    error::{ApiError, Result},
    middleware::security_headers::page_policy,
    request::context::RequestContext,
};
use api_types::format_timestamp;

/// A mail in the development inbox.
#[derive(Serialize, ToSchema)]
pub(crate) struct InboxMail {
    /// Whom it is for.
    #[schema(example = "ann@example.com")]
    to: String,
    /// When it was sent.
    #[schema(format = DateTime, example = "2026-01-23T10:30:00.123456Z")]
    at: String,
    /// Its subject.
    #[schema(example = "Your OTP Verification Code")]
    subject: String,
    /// Its plain text part.
    #[schema(example = "123456\n")]
    text: String,
    /// The code in it.
    #[schema(example = "123456")]
    otp: Option<String>,
    /// The link in it.
    #[schema(example = json!(null))]
    link: Option<String>,
}

impl InboxMail {
    fn of(mail: &Mail, at: chrono::DateTime<chrono::Utc>) -> Self {
        let line = |is_it: fn(&str) -> bool| mail.text.lines().find(|line| is_it(line)).map(str::to_owned);
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

/// The mails as a page, the newest first. Only where no SMTP server is set.
#[utoipa::path(
    tag = "development",
    responses((status = 200, description = "A page", content_type = "text/html"), (status = 404, description = "Outbox are sent by SMTP"))
)]
#[get("/dev/inbox")]
pub(crate) async fn page(context: RequestContext) -> Result<HttpResponse> {
    let inbox = context.state.inbox.as_ref().ok_or_else(|| ApiError::of_status(404))?;
    let mails = inbox.list().iter().map(|received| InboxMail::of(&received.mail, received.at)).collect();
    let html = InboxPage { mails }.render().map_err(Error::internal)?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, page_policy(&html)))
        .body(html))
}

/// The newest mail, of all or to one address.
#[utoipa::path(
    tag = "development",
    params(("to" = Option<String>, Query, description = "The address")),
    responses((status = 200, body = InboxMail), (status = 404, description = "There is no such mail"))
)]
#[get("/dev/inbox/latest")]
pub(crate) async fn latest(context: RequestContext) -> Result<Json<InboxMail>> {
    let inbox = context.state.inbox.as_ref().ok_or_else(|| ApiError::of_status(404))?;
    let to = context.parameter("to").map(Email::parse).transpose().map_err(|_| ApiError::of_status(404))?;
    let received = inbox.latest(to.as_ref()).ok_or_else(|| ApiError::of_status(404))?;
    Ok(Json(InboxMail::of(&received.mail, received.at)))
}
