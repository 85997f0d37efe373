//! The program in a process of its own, which can be killed and started again.

use std::{
    fs::OpenOptions,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct horse";

/// The program, its settings and its folder.
pub(crate) struct Program {
    folder: TempDir,
    settings: Vec<(String, String)>,
    port: u16,
    child: Option<Child>,
    pub(crate) http: Client,
}

/// Somebody with an account.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) access: String,
}

/// What came back, if anything did.
pub(crate) type Answer = Option<(u16, Value)>;

impl Program {
    /// A program that has not been started.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = [("HOST", "127.0.0.1"), ("AUTO_MIGRATE", "true"), ("RATE_LIMIT_SCALE", "0")];
        let settings = own.iter().chain(settings);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let http = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), settings, port, child: None, http }
    }

    /// The same program for those who only send requests to it, also while it is being killed.
    pub(crate) fn by_address(&self) -> Self {
        let (folder, http) = (tempfile::tempdir().unwrap(), self.http.clone());
        Self { folder, settings: Vec::new(), port: self.port, child: None, http }
    }

    /// Changes a setting for its next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(set, _)| set != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_api"))
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .env("PORT", self.port.to_string())
            .env("DATA_DIR", self.folder.path().join("data"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begun = Instant::now();
        while !self.is_ready().await {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_mins(1), "{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it without a chance to do anything.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks it to end, as an operator does, and waits until it has; its exit code and how long it took.
    ///
    /// # Panics
    /// If it goes on for half a minute.
    pub(crate) async fn terminate(&mut self) -> (Option<i32>, Duration) {
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        let signalled = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return (status.code(), begun.elapsed());
            }
            if begun.elapsed() > Duration::from_secs(30) {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("it does not end: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Everything that it has printed. A line about a request may wait for 100 ms.
    pub(crate) fn log(&self) -> String {
        std::thread::sleep(Duration::from_millis(250));
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://127.0.0.1:{}{path}", self.port))
    }

    /// Sends it; `None` if no whole answer came.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) async fn get(&self, path: &str, user: &User) -> Value {
        let request = self.request(Method::GET, path).bearer_auth(&user.access);
        let (status, body) = self.send(request).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn is_ready(&self) -> bool {
        matches!(self.send(self.request(Method::GET, "/readyz")).await, Some((200, _)))
    }

    /// The code that was mailed to this address.
    pub(crate) async fn otp(&self, email: &str) -> String {
        let path = format!("/dev/inbox/latest?to={email}");
        for _ in 0..1000 {
            if let Some((200, mail)) = self.send(self.request(Method::GET, &path)).await {
                return mail["otp"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no mail came to {email}");
    }

    /// Somebody new.
    pub(crate) async fn user(&self, name: &str) -> User {
        let email = format!("{name}@example.com");
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        let register = self.request(Method::POST, "/users/register").json(&body);
        assert_eq!(self.send(register).await.unwrap().0, 200);
        let body = json!({"email": email, "otp": self.otp(&email).await});
        let verify = self.request(Method::POST, "/users/verify-otp").json(&body);
        let (status, pair) = self.send(verify).await.unwrap();
        assert_eq!(status, 200, "{pair}");
        let mut user =
            User { id: 0, name: name.to_owned(), access: pair["access_token"].as_str().unwrap().to_owned() };
        user.id = self.get("/users/me", &user).await["id"].as_i64().unwrap();
        user
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
