//! The program, killed while an upload is on its way, and started again.

use reqwest::{Method, multipart::Form};
use serde_json::Value;
use test_support::{
    TestDatabase,
    cloudinary::{Mood, StandIn},
    database_test,
    media::images::{png, png_chunk, png_with},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle};

use crate::{
    cloudinary::{hurry, owed, settings},
    helpers::{Rest, User, eventually},
    media::{files, part},
    process::Process,
};

/// An upload that goes on by itself.
fn upload(rest: &Rest, user: &User, form: Form) -> JoinHandle<reqwest::Result<reqwest::Response>> {
    tokio::spawn(rest.request(Method::POST, "/posts/").bearer_auth(&user.access).multipart(form).send())
}

async fn start(db: &TestDatabase, more: &[(&str, &str)]) -> (Process, User) {
    let process = Process::start(&[&[("DATABASE_URL", db.url())], more].concat()).await;
    let ann = process.user("ann").await;
    (process, ann)
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
    db.execute(hold).await;
}

async fn release_posts(db: &TestDatabase) {
    if db.url().starts_with("sqlite") {
        db.execute("DROP TRIGGER hold; DROP VIEW forever").await;
    } else {
        // What the program asked for goes on without it.
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
async fn killed_while_cloudinary_has_not_answered_it_pays_afterwards(db: TestDatabase) {
    let stand_in = StandIn::working().await;
    let base = stand_in.base();
    let (mut program, ann) = start(&db, &settings(&base)).await;
    stand_in.becomes(Mood::IsSlow);
    let uploading = upload(&program, &ann, part(png(), "x.png").text("content", "look"));
    eventually("the file is there", async || !stand_in.kept().is_empty()).await;
    program.kill();
    uploading.await.unwrap().unwrap_err();
    assert_eq!((posts(&db).await, owed(&db).await, stand_in.kept().len()), (0, 1, 1));
    stand_in.becomes(Mood::Works);
    hurry(&db).await;
    program.start_again().await;
    eventually("the debt is paid", async || owed(&db).await == 0).await;
    assert!(stand_in.kept().is_empty());
    let paths: Vec<_> = stand_in.calls().into_iter().map(|call| call.path).collect();
    let destroy = "/v1_1/demo-cloud/image/destroy";
    assert_eq!(paths, ["/v1_1/demo-cloud/image/upload", destroy, destroy]);
    assert_eq!((posts(&db).await, files(&program.data_dir())), (0, Vec::new()));
    // It works as before.
    assert_eq!(upload(&program, &ann, part(png(), "x.png")).await.unwrap().unwrap().status(), 200);
    assert_eq!((posts(&db).await, owed(&db).await, stand_in.kept().len()), (1, 0, 1));
}

#[database_test]
async fn killed_between_file_and_post_it_deletes_the_file_afterwards(db: TestDatabase) {
    let (mut program, ann) = start(&db, &[]).await;
    hold_posts(&db).await;
    let uploading = upload(&program, &ann, part(png(), "x.png").text("content", "look"));
    let media = program.data_dir().join("media");
    let kept = || {
        media
            .read_dir()
            .unwrap()
            .filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
    };
    eventually("the file is there", async || kept().count() == 1).await;
    program.kill();
    uploading.await.unwrap().unwrap_err();
    release_posts(&db).await;
    assert_eq!((posts(&db).await, owed(&db).await, kept().count()), (0, 1, 1));
    hurry(&db).await;
    program.start_again().await;
    eventually("the debt is paid", async || owed(&db).await == 0).await;
    assert_eq!((posts(&db).await, files(&program.data_dir())), (0, Vec::new()));
    assert_eq!(upload(&program, &ann, part(png(), "x.png")).await.unwrap().unwrap().status(), 200);
    assert_eq!((posts(&db).await, owed(&db).await, kept().count()), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_deletion_that_nobody_answers() {
    let db = TestDatabase::sqlite().await;
    let stand_in = StandIn::working().await;
    let base = stand_in.base();
    let (mut program, ann) = start(&db, &settings(&base)).await;
    let made: Value =
        upload(&program, &ann, part(png(), "x.png")).await.unwrap().unwrap().json().await.unwrap();
    stand_in.becomes(Mood::Hangs);
    program.delete(&format!("/posts/{}", made["id"]), &ann).await.ok();
    program.kill();
    hurry(&db).await;
    program.start_again().await;
    let destroys = || stand_in.calls().iter().filter(|call| call.path.ends_with("/destroy")).count();
    eventually("a deletion is under way", async || destroys() >= 1).await;
    // Without an end to the wait it would take the two minutes that Cloudinary has.
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(30), program.stop()).await;
    assert_eq!(stopped, Ok(true));
    assert_eq!(owed(&db).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_file_arrives_it_leaves_nothing() {
    let db = TestDatabase::sqlite().await;
    let (mut program, ann) = start(&db, &[]).await;
    let mut stream = TcpStream::connect(program.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /posts/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 5000000\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"media\"; \
         filename=\"a.png\"\r\n\r\n",
        ann.access
    );
    stream.write_all(&[head.as_bytes(), &png(), &vec![0; 1_000_000]].concat()).await.unwrap();
    eventually("something has arrived", async || !files(&program.data_dir()).is_empty()).await;
    program.kill();
    assert_eq!(files(&program.data_dir()).len(), 1);
    program.start_again().await;
    assert_eq!((posts(&db).await, owed(&db).await, files(&program.data_dir())), (0, 0, Vec::new()));
}

/// A limit on the size of files stands in for a disk without room: writing fails in the same place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_an_upload_is_refused_and_all_else_works() {
    let db = TestDatabase::sqlite().await;
    let program = Process::start_limited(&[("DATABASE_URL", db.url())], Some(8 << 20)).await;
    let ann = program.user("ann").await;
    let large = png_with(&[png_chunk(b"tEXt", &vec![b'a'; 9 << 20])]);
    let answer = upload(&program, &ann, part(large, "x.png").text("content", "look")).await.unwrap().unwrap();
    assert_eq!(answer.status(), 507);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "storage_full");
    assert_eq!((posts(&db).await, owed(&db).await, files(&program.data_dir())), (0, 0, Vec::new()));
    assert_eq!(upload(&program, &ann, part(png(), "x.png")).await.unwrap().unwrap().status(), 200);
    assert_eq!((posts(&db).await, files(&program.data_dir()).len()), (1, 1));
}
