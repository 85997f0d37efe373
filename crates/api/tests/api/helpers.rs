//! A running server, and people who use it.

use std::{
    net::TcpListener,
    ops::Deref,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use actix_web::{dev::ServerHandle, web::Data};
use api::{config::Config, server, state::AppState, telemetry};
use application::passwords::HashCost;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::contract;

pub(crate) const PASSWORD: &str = "correct horse";

/// What a server offers over HTTP.
pub(crate) struct Rest {
    pub(crate) url: String,
    http: reqwest::Client,
}

/// A server of its own, which ends with this value.
pub(crate) struct Server {
    rest: Rest,
    pub(crate) app: Data<AppState>,
    handle: ServerHandle,
    stop: CancellationToken,
    pub(crate) folder: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The body as JSON; null if it is none.
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether two answers look the same, but for what names the one or the other.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        let look = |answer: &Self| {
            let mut json = answer.json.clone();
            json.as_object_mut().and_then(|json| json.remove("request_id"));
            let mut headers = answer.headers.clone();
            headers.remove("date");
            headers.remove("x-request-id");
            // Whether a body that nobody reads has arrived already is a matter of chance.
            headers.remove("connection");
            (answer.status, json, headers)
        };
        look(self) == look(other)
    }

    /// Status and `detail` of a problem, status and an empty text else.
    pub(crate) fn problem(&self) -> (u16, &str) {
        (self.status, self.json["detail"].as_str().unwrap_or_default())
    }

    /// The body, of an answer that is a success.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json
    }
}

/// Somebody with an account.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Server {
    pub(crate) async fn start(db: &TestDatabase) -> Self {
        Self::start_with(db, &[]).await
    }

    /// A server with these settings.
    pub(crate) async fn start_with(db: &TestDatabase, settings: &[(&str, &str)]) -> Self {
        Self::start_changed(db, settings, |_| {}).await
    }

    /// A server with these settings, in which something stands in for a part of it.
    pub(crate) async fn start_changed(
        db: &TestDatabase,
        settings: &[(&str, &str)],
        change: impl FnOnce(&mut AppState),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().to_str().unwrap();
        let defaults = [
            ("DATABASE_URL", db.url()),
            ("DATABASE_CONNECTIONS", "6"),
            ("DATA_DIR", data_dir),
            ("HOST", "127.0.0.1"),
            ("WORKERS", "1"),
            ("RATE_LIMIT_SCALE", "0"),
        ];
        let settings =
            defaults.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config =
            Config { hash_cost: HashCost::CHEAPEST, port: 0, ..Config::from_vars(settings).unwrap() };
        if std::env::var_os("RUST_LOG").is_some() {
            telemetry::init(&config);
        }
        let database = api::adapters::database_config(&config).unwrap().url;
        infra_diesel::migrate(&database, false).await.unwrap();
        let mut app = api::app::build(&config).await.unwrap();
        change(&mut app);
        let app = Data::new(app);
        let listener = TcpListener::bind((config.host, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        app.start_workers(&stop).detach_all();
        let server = server::serve(app.clone(), &config, listener).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self { rest: Rest::new(url), app, handle, stop, folder }
    }
}

impl Deref for Server {
    type Target = Rest;

    fn deref(&self) -> &Rest {
        &self.rest
    }
}

impl Rest {
    pub(crate) fn new(url: String) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { url, http }
    }

    /// A request, to be sent by [`Self::send`].
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// The answer, which is one that the document promises.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let response = self.http.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap().to_vec();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let answer = Answer { status, headers, body, json };
        if method != "HEAD" && method != "OPTIONS" {
            contract::check(&method, &path, &answer);
        }
        answer
    }

    pub(crate) async fn get(&self, path: &str, user: impl Into<Option<&User>>) -> Answer {
        self.send(with(self.request(Method::GET, path), user.into())).await
    }

    pub(crate) async fn delete(&self, path: &str, user: impl Into<Option<&User>>) -> Answer {
        self.send(with(self.request(Method::DELETE, path), user.into())).await
    }

    pub(crate) async fn post(&self, path: &str, user: impl Into<Option<&User>>, body: Value) -> Answer {
        let request = with(self.request(Method::POST, path), user.into());
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    pub(crate) async fn put(&self, path: &str, user: impl Into<Option<&User>>, body: Value) -> Answer {
        let request = with(self.request(Method::PUT, path), user.into());
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    pub(crate) async fn register(&self, name: &str, email: &str) -> Answer {
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        self.post("/users/register", None, body).await
    }

    /// The newest mail to this address, once there is one with this subject that `is_it`.
    pub(crate) async fn mail(&self, email: &str, subject: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.get(&format!("/dev/inbox/latest?to={email}"), None).await;
            if answer.status == 200 && answer.json["subject"] == subject && is_it(&answer.json) {
                return answer.json;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no mail came to {email}: {}", answer.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The code that was mailed.
    pub(crate) async fn otp(&self, email: &str) -> String {
        let mail = self.mail(email, "Your OTP Verification Code", |_| true).await;
        mail["otp"].as_str().unwrap().to_owned()
    }

    /// Somebody who has registered and verified; their address is theirs alone.
    pub(crate) async fn user(&self, name: &str) -> User {
        static NEXT: AtomicI64 = AtomicI64::new(0);
        let email = format!("{name}{}@example.com", NEXT.fetch_add(1, Ordering::Relaxed));
        self.register(name, &email).await.ok();
        let otp = self.otp(&email).await;
        let pair = self.post("/users/verify-otp", None, json!({"email": email, "otp": otp})).await.ok();
        self.known(name, &email, &pair).await
    }

    /// Somebody who got this pair of tokens.
    pub(crate) async fn known(&self, name: &str, email: &str, pair: &Value) -> User {
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

    pub(crate) async fn login(&self, login: &str, password: &str) -> Answer {
        let form = [("username", login), ("password", password)];
        self.send(self.request(Method::POST, "/users/login").form(&form)).await
    }

    /// The id of a new post.
    pub(crate) async fn new_post(&self, author: &User, content: &str, is_private: bool) -> i64 {
        let body = json!({"content": content, "is_private": is_private});
        self.post("/posts/", author, body).await.ok()["id"].as_i64().unwrap()
    }
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not come to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn with(request: RequestBuilder, user: Option<&User>) -> RequestBuilder {
    match user {
        Some(user) => request.bearer_auth(&user.access),
        None => request,
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        let stop = self.handle.stop(false);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(stop));
    }
}
