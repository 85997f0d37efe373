//! Uploads while the server is killed, stopped or out of disk space.

use reqwest::{Method, multipart::Form};
use serde_json::Value;
use test_support::{
    TestDatabase,
    cloudinary::{Behavior, FakeCloudinary},
    database_test,
    media::images::{png, png_chunk, png_with},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle};

use crate::harness::{
    ApiClient, Process, User, cloudinary_settings, file_form, files_in, make_deletions_due,
    pending_deletions, wait_until,
};

/// Starts an upload in the background.
fn upload(rest: &ApiClient, user: &User, form: Form) -> JoinHandle<reqwest::Result<reqwest::Response>> {
    tokio::spawn(rest.request(Method::POST, "/posts/").bearer_auth(&user.access).multipart(form).send())
}

async fn start(db: &TestDatabase, more: &[(&str, &str)]) -> (Process, User) {
    let process = Process::start(&[&[("DATABASE_URL", db.url())], more].concat()).await;
    let ann = process.create_user("ann").await;
    (process, ann)
}

/// Blocks each new post forever, after its file has been stored.
async fn hold_posts(db: &TestDatabase) {
    let hold = if db.url().starts_with("sqlite") {
        "CREATE VIEW forever AS WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS x FROM n;
         CREATE TRIGGER hold BEFORE INSERT ON posts BEGIN SELECT x FROM forever; END"
    } else {
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN NEW; END';
         CREATE TRIGGER hold BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION hold()"
    };
    db.execute(hold).await;
}

async fn release_posts(db: &TestDatabase) {
    if db.url().starts_with("sqlite") {
        db.execute("DROP TRIGGER hold; DROP VIEW forever").await;
    } else {
        // Statements of the killed server are still running.
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        db.execute(others).await;
        db.execute("DROP TRIGGER hold ON posts; DROP FUNCTION hold").await;
    }
}

async fn posts(db: &TestDatabase) -> i64 {
    db.number("SELECT count(*) FROM posts").await
}

#[database_test]
async fn kill_during_cloudinary_upload_deletes_the_file_after_restart(db: TestDatabase) {
    let fake = FakeCloudinary::working().await;
    let base = fake.base();
    let (mut server, ann) = start(&db, &cloudinary_settings(&base)).await;
    fake.set_behavior(Behavior::Waits);
    let uploading = upload(&server, &ann, file_form(png(), "x.png").text("content", "look"));
    wait_until("the file is stored", async || !fake.stored_files().is_empty()).await;
    server.kill();
    uploading.await.unwrap().unwrap_err();
    assert_eq!((posts(&db).await, pending_deletions(&db).await, fake.stored_files().len()), (0, 1, 1));
    fake.set_behavior(Behavior::Works);
    make_deletions_due(&db).await;
    server.launch().await;
    wait_until("the file is deleted", async || pending_deletions(&db).await == 0).await;
    assert!(fake.stored_files().is_empty());
    let paths: Vec<_> = fake.calls().into_iter().map(|call| call.path).collect();
    let destroy = "/v1_1/demo-cloud/image/destroy";
    assert_eq!(paths, ["/v1_1/demo-cloud/image/upload", destroy, destroy]);
    assert_eq!((posts(&db).await, files_in(&server.data_dir())), (0, Vec::new()));
    // Uploads work as before.
    assert_eq!(upload(&server, &ann, file_form(png(), "x.png")).await.unwrap().unwrap().status(), 200);
    assert_eq!((posts(&db).await, pending_deletions(&db).await, fake.stored_files().len()), (1, 0, 1));
}

#[database_test]
async fn kill_between_file_and_post_deletes_the_file_after_restart(db: TestDatabase) {
    let (mut server, ann) = start(&db, &[]).await;
    hold_posts(&db).await;
    let uploading = upload(&server, &ann, file_form(png(), "x.png").text("content", "look"));
    let media = server.data_dir().join("media");
    let stored = || {
        media
            .read_dir()
            .unwrap()
            .filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
    };
    wait_until("the file is stored", async || stored().count() == 1).await;
    server.kill();
    uploading.await.unwrap().unwrap_err();
    release_posts(&db).await;
    assert_eq!((posts(&db).await, pending_deletions(&db).await, stored().count()), (0, 1, 1));
    make_deletions_due(&db).await;
    server.launch().await;
    wait_until("the file is deleted", async || pending_deletions(&db).await == 0).await;
    assert_eq!((posts(&db).await, files_in(&server.data_dir())), (0, Vec::new()));
    assert_eq!(upload(&server, &ann, file_form(png(), "x.png")).await.unwrap().unwrap().status(), 200);
    assert_eq!((posts(&db).await, pending_deletions(&db).await, stored().count()), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_does_not_wait_for_a_hanging_deletion() {
    let db = TestDatabase::sqlite().await;
    let fake = FakeCloudinary::working().await;
    let base = fake.base();
    let (mut server, ann) = start(&db, &cloudinary_settings(&base)).await;
    let made: Value =
        upload(&server, &ann, file_form(png(), "x.png")).await.unwrap().unwrap().json().await.unwrap();
    fake.set_behavior(Behavior::Hangs);
    server.delete(&format!("/posts/{}", made["id"]), &ann).await.ok();
    server.kill();
    make_deletions_due(&db).await;
    server.launch().await;
    let destroys = || fake.calls().iter().filter(|call| call.path.ends_with("/destroy")).count();
    wait_until("a deletion is under way", async || destroys() >= 1).await;
    // Fails after half a minute; a request to Cloudinary may take two.
    assert_eq!(server.stop().await.0, Some(0));
    assert_eq!(pending_deletions(&db).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_upload_leaves_no_file() {
    let db = TestDatabase::sqlite().await;
    let (mut server, ann) = start(&db, &[]).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /posts/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 5000000\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"media\"; \
         filename=\"a.png\"\r\n\r\n",
        ann.access
    );
    stream.write_all(&[head.as_bytes(), &png(), &vec![0; 1_000_000]].concat()).await.unwrap();
    wait_until("something has arrived", async || !files_in(&server.data_dir()).is_empty()).await;
    server.kill();
    assert_eq!(files_in(&server.data_dir()).len(), 1);
    server.launch().await;
    assert_eq!(
        (posts(&db).await, pending_deletions(&db).await, files_in(&server.data_dir())),
        (0, 0, Vec::new())
    );
}

/// A limit on the size of files simulates a full disk: writing fails in the same place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_rejects_uploads_and_nothing_else() {
    let db = TestDatabase::sqlite().await;
    let mut server = Process::new(&[("DATABASE_URL", db.url())]);
    server.max_file_size = Some(8 << 20);
    server.launch().await;
    let ann = server.create_user("ann").await;
    let large = png_with(&[png_chunk(b"tEXt", &vec![b'a'; 9 << 20])]);
    let response =
        upload(&server, &ann, file_form(large, "x.png").text("content", "look")).await.unwrap().unwrap();
    assert_eq!(response.status(), 507);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "storage_full");
    assert_eq!(
        (posts(&db).await, pending_deletions(&db).await, files_in(&server.data_dir())),
        (0, 0, Vec::new())
    );
    assert_eq!(upload(&server, &ann, file_form(png(), "x.png")).await.unwrap().unwrap().status(), 200);
    assert_eq!((posts(&db).await, files_in(&server.data_dir()).len()), (1, 1));
}
