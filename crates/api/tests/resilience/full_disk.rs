//! A full disk with the database, and a data directory that processes share.

use std::{fs::File, io::Write as _, path::PathBuf};

use application::random;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, media::images::png, not_tested};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{PASSWORD, Process, User, file_form, files_in, wait_until};

/// Fills the disk to the last byte.
fn fill(path: &PathBuf) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
}

/// Status of a request that the OpenAPI document does not promise, since any write may fail for lack of space.
async fn status(server: &Process, method: Method, path: &str, user: &User, body: Value) -> u16 {
    let request = server.request(method, path).bearer_auth(&user.access).json(&body);
    server.try_send(request).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_and_passwords_change_on_a_full_disk() {
    let mut server =
        Process::new(&[("MEDIA_RESERVE_BYTES", "0"), ("FRONTEND_URL", "https://app.example.com")]);
    if !server.mount_data_dir("64m") {
        return not_tested("this system does not allow users to mount file systems");
    }
    server.launch().await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let (phone, tablet) = (server.new_session(&ann).await, server.new_session(&ann).await);
    let laptop = server.new_session(&ann).await;
    let post = server.create_post(&ann, "hi", false).await;
    let filler = server.inside(&server.data_dir().join("filler"));
    fill(&filler);

    let (content, like) = (json!({"content": "more"}), format!("/posts/{post}/like"));
    assert_eq!(status(&server, Method::POST, "/posts/", &bob, content.clone()).await, 507);
    assert_eq!(status(&server, Method::POST, &like, &bob, Value::Null).await, 507);
    let refused = server
        .send(
            server
                .request(Method::POST, "/posts/")
                .bearer_auth(&bob.access)
                .multipart(file_form(png(), "x.png")),
        )
        .await;
    assert_eq!((refused.status, &refused.json["code"]), (507, &Value::from("storage_full")));

    server.post("/users/logout", &phone, Value::Null).await.ok();
    assert_eq!(server.get("/users/me", &phone).await.status, 401);
    server.delete("/users/me/sessions", &tablet).await.ok();
    assert_eq!(server.get("/users/me", &laptop).await.status, 401);
    let change = json!({"current_password": PASSWORD, "new_password": "battery staple"});
    server.post("/users/change-password", &tablet, change).await.ok();
    server.post("/users/forgot-password", None, json!({"email": bob.email})).await.ok();
    let mail = server.mail(&bob.email, "Reset Your Password", |_| true).await;
    let token = mail["link"].as_str().unwrap().rsplit_once('=').unwrap().1;
    let reset = json!({"token": token, "new_password": "battery staple"});
    server.post("/users/reset-password", None, reset).await.ok();
    assert_eq!(server.get("/users/me", &bob).await.status, 401);
    server.delete(&format!("/posts/{post}"), &tablet).await.ok();

    // With space again everything is as before, also after a restart.
    std::fs::remove_file(filler).unwrap();
    let bob = server.login("bob", "battery staple").await.ok();
    let bob = server.user_with_tokens("bob", "", &bob).await;
    server.post("/posts/", &bob, content).await.ok();
    assert_eq!(server.get("/users/me", &tablet).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_a_data_dir_leave_the_uploads_of_each_other() {
    let db = TestDatabase::postgres().await;
    let (folder, key) = (tempfile::tempdir().unwrap(), random::token::<32>().unwrap());
    let settings =
        [("DATABASE_URL", db.url()), ("SECRET_KEY", &key), ("DATA_DIR", folder.path().to_str().unwrap())];
    let mut first = Process::start(&settings).await;
    let ann = first.create_user("ann").await;
    let mut body =
        b"--x\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.png\"\r\n\r\n".to_vec();
    body.extend([png(), b"\r\n--x--\r\n".to_vec()].concat());
    let head = format!(
        "POST /posts/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\
         Connection: close\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n",
        ann.access,
        body.len()
    );
    let half = body.len() - 50;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(first.address()).await.unwrap();
        stream.write_all(&[head.as_bytes(), &body[..half]].concat()).await.unwrap();
        streams.push(stream);
    }
    wait_until("both files arrive", async || files_in(folder.path()).len() == 2).await;

    let second = Process::start(&settings).await;
    assert_eq!(files_in(folder.path()).len(), 2);
    let mut stream = streams.pop().unwrap();
    stream.write_all(&body[half..]).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(files_in(folder.path()).len(), 2);

    // The files of a killed process are removed while another one runs.
    first.kill();
    let third = Process::start(&settings).await;
    assert_eq!(files_in(folder.path()).len(), 1);
    assert_eq!(second.get("/posts/", &ann).await.ok()["total"], 1);
    drop(third);
}
