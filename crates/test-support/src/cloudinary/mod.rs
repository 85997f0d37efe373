//! A fake Cloudinary on loopback that checks calls as Cloudinary does and can misbehave.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "only tests use it")]

mod call;

use std::{
    collections::BTreeMap,
    future, mem,
    sync::{Arc, Mutex},
};

use chrono::Utc;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use url::Url;

pub use call::Call;

/// Name of the cloud.
pub const CLOUD: &str = "demo-cloud";
/// The accepted API key.
pub const API_KEY: &str = "123456789012345";
/// The secret of [`API_KEY`].
pub const API_SECRET: &str = "hunter2-hunter2-hunter2";

/// How the fake handles calls.
#[derive(Debug, Clone)]
pub enum Behavior {
    /// As Cloudinary does.
    Works,
    /// Responds to every call with this status and body.
    Responds(u16, String),
    /// Redirects the caller.
    Redirects(String),
    /// Never responds, not even when the behavior changes.
    Hangs,
    /// Works, but responds only when the behavior changes.
    Waits,
    /// Closes the connection in the middle of a valid response.
    Truncates,
    /// Sends an endless response.
    NeverEnds,
}

#[derive(Debug, Default)]
struct Memory {
    calls: Vec<Call>,
    /// By resource type, delivery type and public id.
    files: BTreeMap<[String; 3], Vec<u8>>,
}

/// A fake Cloudinary, stopped when dropped.
#[derive(Debug)]
pub struct FakeCloudinary {
    port: u16,
    memory: Arc<Mutex<Memory>>,
    behavior: watch::Sender<Behavior>,
    task: JoinHandle<()>,
}

impl Drop for FakeCloudinary {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeCloudinary {
    /// Starts a fake with this behavior.
    pub async fn start(behavior: Behavior) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let memory: Arc<Mutex<Memory>> = Arc::default();
        let (behavior, behaviors) = watch::channel(behavior);
        let for_task = memory.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, behaviors.clone(), for_task.clone()));
            }
        });
        Self { port, memory, behavior, task }
    }

    /// Starts a fake that works as Cloudinary does.
    pub async fn working() -> Self {
        Self::start(Behavior::Works).await
    }

    /// Changes the behavior for future calls.
    pub fn set_behavior(&self, behavior: Behavior) {
        self.behavior.send_replace(behavior);
    }

    /// Base URL of its API.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.memory.lock().unwrap().calls.clone()
    }

    /// Removes and returns the calls so far.
    pub fn take_calls(&self) -> Vec<Call> {
        mem::take(&mut self.memory.lock().unwrap().calls)
    }

    /// Returns the stored files, e.g. `image/upload/social_media_posts/…`.
    pub fn stored_files(&self) -> Vec<String> {
        self.memory.lock().unwrap().files.keys().map(|key| key.join("/")).collect()
    }
}

async fn serve(mut stream: TcpStream, mut behaviors: watch::Receiver<Behavior>, memory: Arc<Mutex<Memory>>) {
    let Some(call) = Call::read(&mut stream).await else { return };
    let behavior = behaviors.borrow_and_update().clone();
    let (status, response) = {
        let mut memory = memory.lock().unwrap();
        memory.calls.push(call.clone());
        memory.response(&call)
    };
    let head = |status: u16, more: &str, length: usize| {
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n")
            .into_bytes()
    };
    let whole = |status: u16, body: &[u8]| [head(status, "", body.len()).as_slice(), body].concat();
    let bytes = match behavior {
        Behavior::Works => whole(status, &response),
        Behavior::Responds(status, body) => whole(status, body.as_bytes()),
        Behavior::Redirects(to) => head(307, &format!("location: {to}\r\n"), 0),
        Behavior::Hangs => future::pending().await,
        Behavior::Waits => {
            let _ = behaviors.changed().await;
            whole(status, &response)
        }
        Behavior::Truncates => {
            [head(200, "", response.len()).as_slice(), &response[..response.len() / 2]].concat()
        }
        Behavior::NeverEnds => return never_end(stream).await,
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

async fn never_end(mut stream: TcpStream) {
    let mut next = b"HTTP/1.1 200 X\r\n\r\n".to_vec();
    while stream.write_all(&next).await.is_ok() {
        next = vec![b' '; 65536];
    }
}

impl Memory {
    fn response(&mut self, call: &Call) -> (u16, Vec<u8>) {
        let parts: Vec<_> = call.path.split('/').skip(1).collect();
        let ["v1_1", CLOUD, resource_type @ ("image" | "video"), action] = parts[..] else {
            return refuse(404, "no such cloud");
        };
        if !call.is_signed() {
            return refuse(401, "Invalid Signature");
        }
        let key = [resource_type.into(), call.field("type").into(), call.field("public_id").into()];
        match (call.method.as_str(), action) {
            ("POST", "upload") => self.upload(call, key),
            ("POST", "destroy") => {
                let found = self.files.remove(&key).is_some();
                ok(&json!({ "result": if found { "ok" } else { "not found" } }))
            }
            ("GET", "download") => match self.download(call, &key) {
                Some(content) => (200, content),
                None => refuse(404, "Resource not found"),
            },
            _ => refuse(404, "no such action"),
        }
    }

    fn upload(&mut self, call: &Call, key: [String; 3]) -> (u16, Vec<u8>) {
        let content = match (&call.file, call.fields.get("file")) {
            (Some(content), None) => content.clone(),
            (None, Some(address)) => match self.fetch(address) {
                Some(content) => content,
                None => return refuse(400, &format!("Error in loading {address} - 404 Not Found")),
            },
            _ => return refuse(400, "Missing required parameter - file"),
        };
        let [resource_type, delivery_type, public_id] = &key;
        let signature = if delivery_type == "authenticated" { "/s--MnvBAfpm--" } else { "" };
        let address = format!(
            "https://res.cloudinary.com/{CLOUD}/{resource_type}/{delivery_type}{signature}/v17/{public_id}.ext"
        );
        let response = json!({ "public_id": public_id, "version": 17, "secure_url": address });
        self.files.insert(key, content);
        ok(&response)
    }

    fn download(&self, call: &Call, key: &[String; 3]) -> Option<Vec<u8>> {
        let is_fresh = call.number("expires_at")? > Utc::now().timestamp();
        is_fresh.then(|| self.files.get(key).cloned())?
    }

    /// Fetches a file to copy: from the delivery host if it is public, else from the API.
    fn fetch(&self, address: &str) -> Option<Vec<u8>> {
        let url = Url::parse(address).ok()?;
        let fields = url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
        let path = url.path().to_owned();
        if url.host_str() == Some("res.cloudinary.com") {
            let rest = path.strip_prefix(&format!("/{CLOUD}/"))?;
            let (resource_type, rest) = rest.split_once("/upload/v17/")?;
            let key = [resource_type.into(), "upload".into(), rest.strip_suffix(".ext")?.into()];
            return self.files.get(&key).cloned();
        }
        let call = Call {
            method: "GET".into(),
            path,
            headers: BTreeMap::new(),
            fields,
            file: None,
            file_type: None,
        };
        let resource_type = call.path.split('/').nth(3)?.to_owned();
        let key = [resource_type, call.field("type").into(), call.field("public_id").into()];
        call.is_signed().then(|| self.download(&call, &key))?
    }
}

fn ok(response: &Value) -> (u16, Vec<u8>) {
    (200, response.to_string().into_bytes())
}

fn refuse(status: u16, message: &str) -> (u16, Vec<u8>) {
    (status, json!({ "error": { "message": message } }).to_string().into_bytes())
}
