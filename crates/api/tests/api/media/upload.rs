//! Uploads to the local disk.

use std::sync::Arc;

use application::{Services, posts::PostService};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::media::{Media, MediaFile, MediaKey, MediaStore};
use infra_diesel::Database;
use reqwest::Method;
use serde_json::Value;
use test_support::{
    TestDatabase, database_test,
    media::images::{gif_of_a_talker, jpeg_of_a_phone, png, png_of_a_phone, webp_of_a_phone},
};

use crate::harness::{Server, contains_secret, file_form, media_path, stored_files, upload};

/// A store without room.
struct Full;

#[async_trait]
impl MediaStore for Full {
    async fn store(&self, _: MediaKey, _: MediaFile, _: bool) -> domain::Result<Media> {
        Err(domain::Error::STORAGE_FULL)
    }

    async fn copy(&self, _: Media, _: MediaKey, _: bool) -> domain::Result<Media> {
        Err(domain::Error::STORAGE_FULL)
    }

    async fn delete(&self, _: MediaKey) -> domain::Result<()> {
        Ok(())
    }

    fn signed_url(&self, _: &Media, _: DateTime<Utc>) -> Option<String> {
        None
    }
}

#[database_test]
async fn full_store_returns_507_and_stores_nothing(db: TestDatabase) {
    let server = Server::start_changed(&db, &[], |app| {
        let make_services = app.make_services.clone();
        app.make_services = Arc::new(move |db: &Database| {
            let services = make_services(db);
            Services { posts: PostService { store: Arc::new(Full), ..services.posts.clone() }, ..services }
        });
        app.services = Arc::new((app.make_services)(&app.database));
    })
    .await;
    let ann = server.create_user("ann").await;
    let form = || file_form(png(), "x.png").text("content", "look");
    let refused = upload(&server, &ann, form()).await;
    assert_eq!((refused.status, &refused.json["code"]), (507, &Value::from("storage_full")));
    let post = server.create_post(&ann, "text", false).await;
    let path = format!("/posts/{post}");
    let before = server.get(&path, &ann).await.ok();
    assert_eq!(server.put_form(&path, &ann, form()).await.status, 507);
    assert_eq!(server.get(&path, &ann).await.ok(), before);
    assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 1);
    assert_eq!(stored_files(&server), [""; 0]);
}

#[database_test]
async fn file_type_follows_its_content(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    for (bytes, ending, content_type) in [
        (jpeg_of_a_phone(6, true), "jpg", "image/jpeg"),
        (webp_of_a_phone(6), "webp", "image/webp"),
        (gif_of_a_talker(), "gif", "image/gif"),
        (png_of_a_phone(6), "png", "image/png"),
    ] {
        let post = upload(&server, &ann, file_form(bytes, "x.html")).await.ok();
        assert_eq!(post["content"], Value::Null);
        let path = media_path(&server, &post);
        assert!(path.ends_with(&format!(".{ending}")), "{path}");
        let file = server.get(&path, None).await;
        assert_eq!((file.status, file.header("content-type").as_deref()), (200, Some(content_type)));
        assert!(!contains_secret(&file.body), "{ending}");
        let head = server.send(server.request(Method::HEAD, &path)).await;
        assert_eq!(head.header("content-length"), Some(file.body.len().to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_urls_use_the_forwarded_host() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ann = server.create_user("ann").await;
    for n in 0..3 {
        server.create_post(&ann, &format!("post {n}"), false).await;
    }
    let picture = reqwest::multipart::Part::bytes(test_support::media::images::png()).file_name("a.png");
    let form = reqwest::multipart::Form::new().part("media", picture);
    let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access).multipart(form);
    let request =
        request.header("x-forwarded-proto", "https").header("x-forwarded-host", "social.example.com");
    let post = server.send(request).await.ok();
    let url = post["media_url"].as_str().unwrap();
    assert!(url.starts_with("https://social.example.com/media/"), "{url}");
}

#[database_test]
async fn unusual_multipart_headers_are_accepted(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let body = [
        &b"--x\r\nContent-Type: multipart/form-data\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\nlook\r\n"[..],
        b"--x \r\ncontent-disposition: form-data; name=\"media\"; filename=\"f\xFCr\xE9.png\"\r\n\r\n",
        &png(),
        b"\r\n--x\r\nContent-Disposition: form-data; name=\"other\"; filename=\"\"\r\n\r\n\r\n--x--",
    ];
    let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
    let request = request.header("content-type", "multipart/form-data; charset=utf-8; boundary=\"x\"");
    let post = server.send(request.body(body.concat())).await.ok();
    assert_eq!(post["content"], "look");
    let file = server.get(&media_path(&server, &post), None).await;
    assert_eq!(file.header("content-type").as_deref(), Some("image/png"));
}

#[database_test]
async fn file_in_an_unknown_field_is_refused_by_name(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let picture = reqwest::multipart::Part::bytes(png()).file_name("a.png");
    let form = reqwest::multipart::Form::new().text("content", "look").part("file", picture);
    let refused = upload(&server, &ann, form).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json["errors"][0]["loc"], serde_json::json!(["body", "file"]), "{}", refused.text());
    assert!(refused.text().contains("`media`"), "{}", refused.text());
}
