//! A stand-in for Cloudinary on loopback, with the same rules and a will of its own.

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

/// The cloud that the stand-in is, and the credentials that it accepts.
pub const CLOUD: &str = "demo-cloud";
/// The public half.
pub const API_KEY: &str = "123456789012345";
/// The secret half.
pub const API_SECRET: &str = "hunter2-hunter2-hunter2";

/// What the stand-in does with calls.
#[derive(Debug, Clone)]
pub enum Mood {
    /// What Cloudinary does.
    Works,
    /// Answers with a status and a body, whatever was asked.
    Says(u16, String),
    /// Sends the caller elsewhere.
    Redirects(String),
    /// Never answers, not even when its mood changes.
    Hangs,
    /// Does what Cloudinary does, and answers when its mood has changed.
    IsSlow,
    /// Hangs up in the middle of a good answer.
    BreaksOff,
    /// Answers and answers.
    NeverEnds,
}

#[derive(Debug, Default)]
struct Memory {
    calls: Vec<Call>,
    /// By resource type, delivery type and public id.
    files: BTreeMap<[String; 3], Vec<u8>>,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    port: u16,
    memory: Arc<Mutex<Memory>>,
    mood: watch::Sender<Mood>,
    task: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    /// One in this mood.
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let memory: Arc<Mutex<Memory>> = Arc::default();
        let (mood, moods) = watch::channel(mood);
        let for_task = memory.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, moods.clone(), for_task.clone()));
            }
        });
        Self { port, memory, mood, task }
    }

    /// One that does what Cloudinary does.
    pub async fn working() -> Self {
        Self::start(Mood::Works).await
    }

    /// Changes its mood for the calls to come.
    pub fn becomes(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Its address.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.memory.lock().unwrap().calls.clone()
    }

    /// The calls since they were taken last.
    pub fn take_calls(&self) -> Vec<Call> {
        mem::take(&mut self.memory.lock().unwrap().calls)
    }

    /// What is kept, as `image/upload/social_media_posts/…`.
    pub fn kept(&self) -> Vec<String> {
        self.memory.lock().unwrap().files.keys().map(|place| place.join("/")).collect()
    }
}

async fn serve(mut stream: TcpStream, mut moods: watch::Receiver<Mood>, memory: Arc<Mutex<Memory>>) {
    let Some(call) = Call::read(&mut stream).await else { return };
    let mood = moods.borrow_and_update().clone();
    let (status, answer) = {
        let mut memory = memory.lock().unwrap();
        memory.calls.push(call.clone());
        memory.answer(&call)
    };
    let head = |status: u16, more: &str, length: usize| {
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n")
            .into_bytes()
    };
    let whole = |status: u16, body: &[u8]| [head(status, "", body.len()).as_slice(), body].concat();
    let bytes = match mood {
        Mood::Works => whole(status, &answer),
        Mood::Says(status, body) => whole(status, body.as_bytes()),
        Mood::Redirects(to) => head(307, &format!("location: {to}\r\n"), 0),
        Mood::Hangs => future::pending().await,
        Mood::IsSlow => {
            let _ = moods.changed().await;
            whole(status, &answer)
        }
        Mood::BreaksOff => [head(200, "", answer.len()).as_slice(), &answer[..answer.len() / 2]].concat(),
        Mood::NeverEnds => return never_end(stream).await,
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
    fn answer(&mut self, call: &Call) -> (u16, Vec<u8>) {
        let parts: Vec<_> = call.path.split('/').skip(1).collect();
        let ["v1_1", CLOUD, resource_type @ ("image" | "video"), action] = parts[..] else {
            return refuse(404, "no such cloud");
        };
        if !call.is_signed() {
            return refuse(401, "Invalid Signature");
        }
        let place = [resource_type.into(), call.field("type").into(), call.field("public_id").into()];
        match (call.method.as_str(), action) {
            ("POST", "upload") => self.upload(call, place),
            ("POST", "destroy") => {
                let found = self.files.remove(&place).is_some();
                say(&json!({ "result": if found { "ok" } else { "not found" } }))
            }
            ("GET", "download") => match self.download(call, &place) {
                Some(content) => (200, content),
                None => refuse(404, "Resource not found"),
            },
            _ => refuse(404, "no such action"),
        }
    }

    fn upload(&mut self, call: &Call, place: [String; 3]) -> (u16, Vec<u8>) {
        let content = match (&call.file, call.fields.get("file")) {
            (Some(content), None) => content.clone(),
            (None, Some(address)) => match self.fetch(address) {
                Some(content) => content,
                None => return refuse(400, &format!("Error in loading {address} - 404 Not Found")),
            },
            _ => return refuse(400, "Missing required parameter - file"),
        };
        let [resource_type, delivery_type, public_id] = &place;
        let signature = if delivery_type == "authenticated" { "/s--MnvBAfpm--" } else { "" };
        let address = format!(
            "https://res.cloudinary.com/{CLOUD}/{resource_type}/{delivery_type}{signature}/v17/{public_id}.ext"
        );
        let answer = json!({ "public_id": public_id, "version": 17, "secure_url": address });
        self.files.insert(place, content);
        say(&answer)
    }

    fn download(&self, call: &Call, place: &[String; 3]) -> Option<Vec<u8>> {
        let is_fresh = call.number("expires_at")? > Utc::now().timestamp();
        is_fresh.then(|| self.files.get(place).cloned())?
    }

    /// Fetches a file to copy: from the delivery host if it is public, else from the API.
    fn fetch(&self, address: &str) -> Option<Vec<u8>> {
        let url = Url::parse(address).ok()?;
        let fields = url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
        let path = url.path().to_owned();
        if url.host_str() == Some("res.cloudinary.com") {
            let rest = path.strip_prefix(&format!("/{CLOUD}/"))?;
            let (resource_type, rest) = rest.split_once("/upload/v17/")?;
            let place = [resource_type.into(), "upload".into(), rest.strip_suffix(".ext")?.into()];
            return self.files.get(&place).cloned();
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
        let place = [resource_type, call.field("type").into(), call.field("public_id").into()];
        call.is_signed().then(|| self.download(&call, &place))?
    }
}

fn say(answer: &Value) -> (u16, Vec<u8>) {
    (200, answer.to_string().into_bytes())
}

fn refuse(status: u16, message: &str) -> (u16, Vec<u8>) {
    (status, json!({ "error": { "message": message } }).to_string().into_bytes())
}
