//! An HTTP client for the API that checks each response against the OpenAPI document.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder, header::HeaderMap, multipart::Form};
use serde_json::{Value, json};

use super::openapi;

/// Password of every user that [`ApiClient::create_user`] creates.
pub(crate) const PASSWORD: &str = "correct horse";

/// Longer than any response may take; a request that hangs fails its test.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Sends requests to one server.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient {
    pub(crate) url: String,
    http: reqwest::Client,
}

/// A response whose body has been read.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The body as JSON, or null if it is not JSON.
    pub(crate) json: Value,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns whether status, headers and JSON are equal, apart from request ids and dates.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        let visible = |response: &Self| {
            let mut json = response.json.clone();
            json.as_object_mut().and_then(|json| json.remove("request_id"));
            let mut headers = response.headers.clone();
            headers.remove("date");
            headers.remove("x-request-id");
            // Depends on whether a body that the server does not read has already arrived.
            headers.remove("connection");
            (response.status, json, headers)
        };
        visible(self) == visible(other)
    }

    /// Status and `detail` of a problem; the status and an empty text otherwise.
    pub(crate) fn problem(&self) -> (u16, &str) {
        (self.status, self.json["detail"].as_str().unwrap_or_default())
    }

    /// Status and the type of the first validation error; the status and an empty text otherwise.
    pub(crate) fn validation_error(&self) -> (u16, &str) {
        (self.status, self.json["errors"][0]["type"].as_str().unwrap_or_default())
    }

    /// Returns the body of a successful response.
    ///
    /// # Panics
    /// If the status is not 200.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json
    }
}

/// A registered and verified user with the tokens of one session.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl User {
    /// The same user with another access token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { access: token.to_owned(), ..self.clone() }
    }
}

impl ApiClient {
    pub(crate) fn new(url: String) -> Self {
        let http = reqwest::Client::builder();
        let http = http.redirect(reqwest::redirect::Policy::none()).timeout(REQUEST_TIMEOUT);
        Self { url, http: http.build().unwrap() }
    }

    /// Host and port, for connections below HTTP.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Builds a request, to be sent by [`Self::send`].
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request and checks that the OpenAPI document promises the response.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Response {
        let request = request.build().unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let response = self.http.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap().to_vec();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let response = Response { status, headers, body, json };
        if method != "HEAD" && method != "OPTIONS" {
            openapi::check(&method, &path, &response);
        }
        response
    }

    /// Sends a request to a server that may be stopped meanwhile: status and JSON, or `None` if no complete response
    /// arrives.
    pub(crate) async fn try_send(&self, request: RequestBuilder) -> Option<(u16, Value)> {
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) async fn get(&self, path: &str, user: impl Into<Option<&User>>) -> Response {
        self.send(with_bearer(self.request(Method::GET, path), user.into())).await
    }

    pub(crate) async fn delete(&self, path: &str, user: impl Into<Option<&User>>) -> Response {
        self.send(with_bearer(self.request(Method::DELETE, path), user.into())).await
    }

    /// Sends JSON, or no body if it is null.
    pub(crate) async fn post(&self, path: &str, user: impl Into<Option<&User>>, body: Value) -> Response {
        let request = with_bearer(self.request(Method::POST, path), user.into());
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// Sends JSON, or no body if it is null.
    pub(crate) async fn put(&self, path: &str, user: impl Into<Option<&User>>, body: Value) -> Response {
        let request = with_bearer(self.request(Method::PUT, path), user.into());
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    pub(crate) async fn put_form(&self, path: &str, user: &User, form: Form) -> Response {
        self.send(self.request(Method::PUT, path).bearer_auth(&user.access).multipart(form)).await
    }

    pub(crate) async fn register(&self, name: &str, email: &str) -> Response {
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        self.post("/users/register", None, body).await
    }

    /// Waits for a mail to this address whose subject is `subject` and for which `is_expected` returns true.
    pub(crate) async fn mail(
        &self,
        email: &str,
        subject: &str,
        is_expected: impl Fn(&Value) -> bool,
    ) -> Value {
        let start = Instant::now();
        loop {
            let response = self.get(&format!("/dev/inbox/latest?to={email}"), None).await;
            if response.status == 200 && response.json["subject"] == subject && is_expected(&response.json) {
                return response.json;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no mail to {email}: {}", response.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the mail with a verification code and returns the code.
    pub(crate) async fn otp(&self, email: &str) -> String {
        self.new_otp(email, "").await
    }

    /// Waits for a verification code other than `old`.
    pub(crate) async fn new_otp(&self, email: &str, old: &str) -> String {
        let mail = self.mail(email, "Your OTP Verification Code", |mail| mail["otp"] != old).await;
        mail["otp"].as_str().unwrap().to_owned()
    }

    /// Registers and verifies a user with an email address that no other test uses.
    pub(crate) async fn create_user(&self, name: &str) -> User {
        static NEXT: AtomicI64 = AtomicI64::new(0);
        let email = format!("{name}{}@example.com", NEXT.fetch_add(1, Ordering::Relaxed));
        self.register(name, &email).await.ok();
        let otp = self.otp(&email).await;
        let pair = self.post("/users/verify-otp", None, json!({"email": email, "otp": otp})).await.ok();
        self.user_with_tokens(name, &email, &pair).await
    }

    /// The user to whom this pair of tokens was issued.
    pub(crate) async fn user_with_tokens(&self, name: &str, email: &str, pair: &Value) -> User {
        let text = |key: &str| pair[key].as_str().unwrap().to_owned();
        let mut user = User {
            id: 0,
            name: name.to_owned(),
            email: email.to_owned(),
            access: text("access_token"),
            refresh: text("refresh_token"),
        };
        user.id = self.get("/users/me", &user).await.ok()["id"].as_i64().unwrap();
        user
    }

    pub(crate) async fn login(&self, login: &str, password: &str) -> Response {
        let form = [("username", login), ("password", password)];
        self.send(self.request(Method::POST, "/users/login").form(&form)).await
    }

    /// Logs the user in again: the same user in another session.
    pub(crate) async fn new_session(&self, user: &User) -> User {
        self.user_with_tokens(&user.name, &user.email, &self.login(&user.name, PASSWORD).await.ok()).await
    }

    /// Creates a post and returns its id.
    pub(crate) async fn create_post(&self, author: &User, content: &str, is_private: bool) -> i64 {
        let body = json!({"content": content, "is_private": is_private});
        self.post("/posts/", author, body).await.ok()["id"].as_i64().unwrap()
    }
}

fn with_bearer(request: RequestBuilder, user: Option<&User>) -> RequestBuilder {
    match user {
        Some(user) => request.bearer_auth(&user.access),
        None => request,
    }
}
