//! The program, killed while an upload is on its way, and started again.

use std::{path::PathBuf, process::Command};

use reqwest::multipart::Form;
use serde_json::{Value, json};
use test_support::{
    TestDatabase,
    cloudinary::{Mood, StandIn},
    media::images::{png, png_chunk, png_with},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    cloudinary::{hurry, owed, settings},
    database::{execute, number},
    helpers::{PASSWORD, eventually},
    media::{files, part},
    process::{Serving, program},
};

/// The program, with what it needs to be started again as it was.
struct Program {
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    port: String,
    serving: Option<Serving>,
    http: reqwest::Client,
    token: String,
    /// The largest file that it can write, in bytes.
    largest: Option<u32>,
}

impl Program {
    /// A program that serves, and an account.
    async fn start(db: &TestDatabase, more: &[(&str, &str)]) -> Self {
        Self::start_limited(db, more, None).await
    }

    async fn start_limited(db: &TestDatabase, more: &[(&str, &str)], largest: Option<u32>) -> Self {
        let port = test_support::quiet_port().to_string();
        let own =
            [("DATABASE_URL", db.url()), ("HOST", "127.0.0.1"), ("PORT", &port), ("AUTO_MIGRATE", "true")];
        let settings = own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut program = Self {
            folder: tempfile::tempdir().unwrap(),
            settings: settings.collect(),
            port,
            serving: None,
            http: reqwest::Client::new(),
            token: String::new(),
            largest,
        };
        program.serve().await;
        program.register().await;
        program
    }

    async fn serve(&mut self) {
        let (folder, settings) = (self.folder.path().to_owned(), self.settings.clone());
        let largest = self.largest;
        let start = move || {
            let settings: Vec<_> =
                settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut command = program(&folder, &settings);
            if let Some(largest) = largest {
                command = limited(&command, largest);
            }
            Serving::wait_for(command, &folder, &settings)
        };
        self.serving = Some(spawn_blocking(start).await.unwrap());
    }

    /// Without a chance to do anything before it ends.
    fn kill(&mut self) {
        self.serving = None;
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn register(&mut self) {
        let body = json!({"username": "ann", "email": "ann@example.com", "password": PASSWORD});
        let answer = self.http.post(self.url("/users/register")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let inbox = self.url("/dev/inbox/latest?to=ann@example.com");
        let mail = async || self.http.get(&inbox).send().await.unwrap();
        eventually("a mail", async || mail().await.status() == 200).await;
        let mail: Value = mail().await.json().await.unwrap();
        let body = json!({"email": "ann@example.com", "otp": mail["otp"]});
        let answer = self.http.post(self.url("/users/verify-otp")).json(&body).send().await.unwrap();
        let pair: Value = answer.json().await.unwrap();
        pair["access_token"].as_str().unwrap().clone_into(&mut self.token);
    }

    /// An upload that goes on by itself.
    fn upload(&self, form: Form) -> JoinHandle<reqwest::Result<reqwest::Response>> {
        tokio::spawn(self.http.post(self.url("/posts/")).bearer_auth(&self.token).multipart(form).send())
    }
}

/// The same command, which cannot write files larger than this.
fn limited(command: &Command, largest: u32) -> Command {
    let mut shell = Command::new("sh");
    // In blocks of 512 bytes. Without the trap, the first such write would be a signal that ends it.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\"", largest / 512);
    shell.args(["-c", &script]).arg(command.get_program()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap());
    shell
}

/// Makes each new post wait for ever, after its file has been kept.
async fn hold_posts(db: &TestDatabase) {
    let hold = if db.url().starts_with("sqlite") {
        "CREATE VIEW forever AS WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS x FROM n;
         CREATE TRIGGER hold BEFORE INSERT ON posts BEGIN SELECT x FROM forever; END"
    } else {
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN NEW; END';
         CREATE TRIGGER hold BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION hold()"
    };
    execute(db, hold).await;
}

async fn release_posts(db: &TestDatabase) {
    if db.url().starts_with("sqlite") {
        execute(db, "DROP TRIGGER hold; DROP VIEW forever").await;
    } else {
        // What the program asked for goes on without it.
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        execute(db, others).await;
        execute(db, "DROP TRIGGER hold ON posts; DROP FUNCTION hold").await;
    }
}

async fn posts(db: &TestDatabase) -> i64 {
    number(db, "SELECT count(*) FROM posts").await
}

test_support::on_both_databases! {
    async fn killed_while_cloudinary_has_not_answered_it_pays_afterwards(db: TestDatabase) {
        let stand_in = StandIn::working().await;
        let base = stand_in.base();
        let mut program = Program::start(&db, &settings(&base)).await;
        stand_in.becomes(Mood::IsSlow);
        let upload = program.upload(part(png(), "x.png").text("content", "look"));
        eventually("the file is there", async || !stand_in.kept().is_empty()).await;
        program.kill();
        upload.await.unwrap().unwrap_err();
        assert_eq!((posts(&db).await, owed(&db).await, stand_in.kept().len()), (0, 1, 1));
        stand_in.becomes(Mood::Works);
        hurry(&db).await;
        program.serve().await;
        eventually("the debt is paid", async || owed(&db).await == 0).await;
        assert!(stand_in.kept().is_empty());
        let paths: Vec<_> = stand_in.calls().into_iter().map(|call| call.path).collect();
        let destroy = "/v1_1/demo-cloud/image/destroy";
        assert_eq!(paths, ["/v1_1/demo-cloud/image/upload", destroy, destroy]);
        assert_eq!((posts(&db).await, files(&program.data_dir())), (0, Vec::new()));
        // It works as before.
        assert_eq!(program.upload(part(png(), "x.png")).await.unwrap().unwrap().status(), 200);
        assert_eq!((posts(&db).await, owed(&db).await, stand_in.kept().len()), (1, 0, 1));
    }

    async fn killed_between_file_and_post_it_deletes_the_file_afterwards(db: TestDatabase) {
        let mut program = Program::start(&db, &[]).await;
        hold_posts(&db).await;
        let upload = program.upload(part(png(), "x.png").text("content", "look"));
        let media = program.data_dir().join("media");
        let kept = || media.read_dir().unwrap().filter(|entry| {
            !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')
        });
        eventually("the file is there", async || kept().count() == 1).await;
        program.kill();
        upload.await.unwrap().unwrap_err();
        release_posts(&db).await;
        assert_eq!((posts(&db).await, owed(&db).await, kept().count()), (0, 1, 1));
        hurry(&db).await;
        program.serve().await;
        eventually("the debt is paid", async || owed(&db).await == 0).await;
        assert_eq!((posts(&db).await, files(&program.data_dir())), (0, Vec::new()));
        assert_eq!(program.upload(part(png(), "x.png")).await.unwrap().unwrap().status(), 200);
        assert_eq!((posts(&db).await, owed(&db).await, kept().count()), (1, 0, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_file_arrives_it_leaves_nothing() {
    let db = TestDatabase::sqlite();
    let mut program = Program::start(&db, &[]).await;
    let mut stream = TcpStream::connect(("127.0.0.1", program.port.parse::<u16>().unwrap())).await.unwrap();
    let head = format!(
        "POST /posts/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 5000000\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"media\"; \
         filename=\"a.png\"\r\n\r\n",
        program.token
    );
    stream.write_all(&[head.as_bytes(), &png(), &vec![0; 1_000_000]].concat()).await.unwrap();
    eventually("something has arrived", async || !files(&program.data_dir()).is_empty()).await;
    program.kill();
    assert_eq!(files(&program.data_dir()).len(), 1);
    program.serve().await;
    assert_eq!((posts(&db).await, owed(&db).await, files(&program.data_dir())), (0, 0, Vec::new()));
}

/// A limit on the size of files stands in for a disk without room: writing fails in the same place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_an_upload_is_refused_and_all_else_works() {
    let db = TestDatabase::sqlite();
    let program = Program::start_limited(&db, &[], Some(8 << 20)).await;
    let large = png_with(&[png_chunk(b"tEXt", &vec![b'a'; 9 << 20])]);
    let answer = program.upload(part(large, "x.png").text("content", "look")).await.unwrap().unwrap();
    assert_eq!(answer.status(), 507);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "storage_full");
    assert_eq!((posts(&db).await, owed(&db).await, files(&program.data_dir())), (0, 0, Vec::new()));
    assert_eq!(program.upload(part(png(), "x.png")).await.unwrap().unwrap().status(), 200);
    assert_eq!((posts(&db).await, files(&program.data_dir()).len()), (1, 1));
}
