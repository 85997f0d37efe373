//! Slow, stalled and aborted bodies.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, select_all};
use test_support::{
    TestDatabase,
    media::{
        images::{gif, png},
        videos::{self, mp4_box},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{Server, User, file_form, stored_files, upload, wait_until};

/// A request whose body is sent in parts.
struct Sending(TcpStream);

impl Sending {
    async fn begin(server: &Server, path: &str, user: Option<&User>, content_type: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let length = if content_type.starts_with("multipart") { 1_000_000_000 } else { 1000 };
        let token = user.map_or("none", |user| user.access.as_str());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {length}\r\nContent-Type: {content_type}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(stream)
    }

    /// Starts an upload of a file with these first bytes.
    async fn file(server: &Server, user: &User, begin: impl AsRef<[u8]>) -> Self {
        let mut sending = Self::begin(server, "/posts/", Some(user), "multipart/form-data; boundary=x").await;
        let head = b"--x\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a\"\r\n\r\n";
        sending.0.write_all(head).await.unwrap();
        sending.0.write_all(begin.as_ref()).await.unwrap();
        sending
    }

    /// Returns the status of the response, although the body is incomplete.
    async fn status(mut self) -> String {
        let mut response = [0; 12];
        self.0.read_exact(&mut response).await.unwrap();
        String::from_utf8_lossy(&response[9..]).into_owned()
    }
}

/// Starts a server with these limits on the time of a body.
async fn server(db: &TestDatabase, idle: Duration, longest: Duration) -> Server {
    Server::start_changed(db, &[], |app| {
        let pace = &mut app.bodies.pace;
        (pace.idle_timeout, pace.timeout, pace.grace) = (idle, longest, longest);
    })
    .await
}

/// Longer than a busy server takes to read a complete body.
const SHORT: Duration = Duration::from_secs(1);

const LONG: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_body_is_cut_off_and_leaves_nothing() {
    let db = TestDatabase::sqlite().await;
    let server = server(&db, SHORT, LONG).await;
    let ann = server.create_user("ann").await;
    let (ann, multipart) = (&ann, "multipart/form-data; boundary=x");
    let texts = ["application/json", "application/x-www-form-urlencoded", multipart];
    let texts = texts.iter().flat_map(|kind| [(kind, "/posts/", Some(ann)), (kind, "/users/login", None)]);
    let texts = join_all(texts.map(|(kind, path, user)| Sending::begin(&server, path, user, kind))).await;
    let files = [Sending::file(&server, ann, png()).await, Sending::file(&server, ann, b"").await];
    for status in join_all(texts.into_iter().chain(files).map(Sending::status)).await {
        assert_eq!(status, "408");
    }
    assert_eq!(stored_files(&server), [""; 0]);
    assert_eq!(server.get("/posts/", ann).await.ok()["total"], 0);
    upload(&server, ann, file_form(png(), "a.png")).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trickling_body_is_cut_off_after_the_total_time() {
    let db = TestDatabase::sqlite().await;
    let server = server(&db, LONG, 2 * SHORT).await;
    let ann = server.create_user("ann").await;
    let (mut responses, mut drops) = Sending::file(&server, &ann, png()).await.0.into_split();
    let dripping = tokio::spawn(async move {
        while drops.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 20).await;
        }
    });
    let mut response = [0; 12];
    responses.read_exact(&mut response).await.unwrap();
    assert_eq!(&response[9..], b"408");
    dripping.abort();
    assert_eq!(stored_files(&server), [""; 0]);
    assert_eq!(server.app.bodies.upload_slots.available(), 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_below_the_minimum_rate_is_cut_off() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_changed(&db, &[], |app| {
        let pace = &mut app.bodies.pace;
        (pace.idle_timeout, pace.timeout, pace.grace, pace.min_rate) = (LONG, LONG, 2 * SHORT, 1000);
    })
    .await;
    let ann = server.create_user("ann").await;
    let bodies = [
        Sending::file(&server, &ann, png()).await,
        Sending::begin(&server, "/users/login", None, "application/json").await,
    ];
    let start = Instant::now();
    for sending in bodies {
        let (mut responses, mut drops) = sending.0.into_split();
        let dripping = tokio::spawn(async move {
            while drops.write_all(b" ").await.is_ok() {
                tokio::time::sleep(SHORT / 10).await;
            }
        });
        let mut response = [0; 12];
        responses.read_exact(&mut response).await.unwrap();
        assert_eq!(&response[9..], b"408");
        dripping.abort();
    }
    assert!(start.elapsed() < 20 * SHORT, "cut off after {:?}", start.elapsed());
    assert_eq!(stored_files(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_uploads_of_one_user_do_not_block_others() {
    let db = TestDatabase::sqlite().await;
    let server = server(&db, LONG, LONG).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let slow = join_all((0..40).map(|_| Sending::file(&server, &ann, png()))).await;
    wait_until("all of them are being received", async || stored_files(&server).len() == 40).await;
    upload(&server, &bob, file_form(gif(), "a.gif")).await.ok();
    // Not even the other uploads of that user.
    upload(&server, &ann, file_form(gif(), "a.gif")).await.ok();
    server.create_post(&ann, "text", false).await;
    drop(slow);
    upload(&server, &ann, file_form(gif(), "a.gif")).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_uploads_of_many_users_occupy_no_upload_slot() {
    let db = TestDatabase::sqlite().await;
    let server = server(&db, 10 * SHORT, LONG).await;
    let names = ["ann", "bob", "cat", "dan", "eve", "flo", "gus", "hal", "ida"];
    let people = join_all(names.map(|name| server.create_user(name))).await;
    let (honest, others) = people.split_last().unwrap();
    let slow = others.iter().flat_map(|user| (0..4).map(move |_| user));
    let slow = join_all(slow.map(|user| Sending::file(&server, user, png()))).await;
    wait_until("all of them are being received", async || stored_files(&server).len() == slow.len()).await;
    assert_eq!(server.app.bodies.upload_slots.available(), 32);
    let start = Instant::now();
    upload(&server, honest, file_form(gif(), "a.gif")).await.ok();
    assert!(start.elapsed() < 5 * SHORT, "waited {:?}", start.elapsed());
    for sending in slow {
        assert_eq!(sending.status().await, "408");
    }
    assert_eq!(stored_files(&server).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_one_user_is_sending_fill_a_part_of_the_disk_only() {
    let db = TestDatabase::sqlite().await;
    // Room for four files of the largest size, for each user.
    let server = Server::start_with(&db, &[("MAX_UPLOAD_BYTES", "1000000")]).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let begin = [&png()[..], &vec![0; 900_000]].concat();
    let sending = join_all((0..5).map(|_| Sending::file(&server, &ann, &begin))).await;
    let (status, _, others) = select_all(sending.into_iter().map(|one| Box::pin(one.status()))).await;
    assert_eq!(status, "429");
    upload(&server, &bob, file_form(gif(), "a.gif")).await.ok();
    drop(others);
    wait_until("their files are gone", async || stored_files(&server).len() == 1).await;
    upload(&server, &ann, file_form(gif(), "a.gif")).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_file_is_rejected_before_it_has_fully_arrived() {
    let db = TestDatabase::sqlite().await;
    let server = server(&db, LONG, LONG).await;
    let ann = server.create_user("ann").await;
    for (name, head, mebibytes, status) in [
        ("an image", png()[..20].to_vec(), 10, "413"),
        ("a video", videos::ftyp(b"isom"), 50, "413"),
        ("nothing that is accepted", b"%PDF-1.7\n1 0 obj".to_vec(), 0, "415"),
    ] {
        let begin = [&head[..], &vec![0; mebibytes << 20]].concat();
        assert_eq!(Sending::file(&server, &ann, &begin).await.status().await, status, "{name}");
        assert_eq!(stored_files(&server), [""; 0], "{name}");
    }
    let film = |mebibytes: usize| {
        let moov = videos::movie(&[&videos::simple_track()]);
        [videos::ftyp(b"isom"), moov, mp4_box(b"mdat", &[&vec![7; mebibytes << 20]])].concat()
    };
    upload(&server, &ann, file_form(film(11), "a.mp4")).await.ok();
    assert_eq!(
        upload(&server, &ann, file_form(film(50), "a.mp4")).await.problem(),
        (413, "The file is too large")
    );
    assert_eq!(stored_files(&server).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_uploads_leave_no_files() {
    let (server, ann, _db) = Server::start_with_user().await;
    let head = format!(
        "POST /posts/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 500000\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"media\"; \
         filename=\"a.png\"\r\n\r\n",
        ann.access
    );
    join_all((0..60).map(async |n| {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"\x89PNG\r\n\x1a\n").await.unwrap();
        // The server may have rejected it already.
        let _ = stream.write_all(&vec![b'x'; n * 4000]).await;
        if n % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }))
    .await;
    let start = Instant::now();
    while !stored_files(&server).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(15), "files of broken uploads stay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 0);
    // All upload slots are free again.
    assert_eq!(server.app.bodies.upload_slots.available(), 32);
}
