//! Files of posts on the local disk.

use std::{path::Path, sync::Arc};

use application::{Services, posts::PostService};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::media::{Media, MediaFile, MediaKey, MediaStore};

use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::Value;
use test_support::media::{
    SECRET,
    images::{gif, gif_of_a_talker, jpeg_of_a_phone, png, png_of_a_phone, webp_of_a_phone},
};
use test_support::{TestDatabase, database_test};

use crate::helpers::{Answer, Server, User};

pub(crate) fn part(bytes: Vec<u8>, name: &str) -> Form {
    Form::new().part("media", Part::bytes(bytes).file_name(name.to_owned()).mime_str("image/png").unwrap())
}

pub(crate) async fn upload(server: &Server, user: &User, form: Form) -> Answer {
    server.send(server.request(Method::POST, "/posts/").bearer_auth(&user.access).multipart(form)).await
}

/// Every file that is stored, or lies anywhere on its way there, below the server's folder.
pub(crate) fn files(data_dir: &Path) -> Vec<String> {
    let folders = ["media", "media/.incoming", "uploads"].map(|folder| data_dir.join(folder));
    let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten();
    let files = entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != ".lock").collect()
}

pub(crate) fn stored(server: &Server) -> Vec<String> {
    files(server.folder.path())
}

/// The path and query of a post's file.
pub(crate) fn address(server: &Server, post: &Value) -> String {
    post["media_url"].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned()
}

/// Whether what nobody should see is in a file.
pub(crate) fn tells(file: &[u8]) -> bool {
    file.windows(17).any(|part| part == &SECRET[..17])
}

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
async fn a_store_without_room_is_told_and_nothing_is_stored(db: TestDatabase) {
    let server = Server::start_changed(&db, &[], |app| {
        let services = Services::clone(&app.services);
        let posts = PostService { store: Arc::new(Full), ..services.posts.clone() };
        app.services = Arc::new(Services { posts, ..services });
    })
    .await;
    let ann = server.user("ann").await;
    let form = || part(png(), "x.png").text("content", "look");
    let refused = upload(&server, &ann, form()).await;
    assert_eq!((refused.status, &refused.json["code"]), (507, &Value::from("storage_full")));
    let post = server.new_post(&ann, "text", false).await;
    let path = format!("/posts/{post}");
    let before = server.get(&path, &ann).await.ok();
    let change = server.request(Method::PUT, &path).bearer_auth(&ann.access).multipart(form());
    assert_eq!(server.send(change).await.status, 507);
    assert_eq!(server.get(&path, &ann).await.ok(), before);
    assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 1);
    assert_eq!(stored(&server), [""; 0]);
}

#[database_test]
async fn a_public_file_loads_without_a_token_and_well(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let post = upload(
        &server,
        &ann,
        part(png_of_a_phone(6), "../../holiday\u{202e}gnp.exe").text("content", "look"),
    )
    .await
    .ok();
    let path = address(&server, &post);
    assert!(
        !path.contains("holiday") && path.rsplit_once('.').is_some_and(|(_, ending)| ending == "png"),
        "{path}"
    );
    let file = server.get(&path, None).await;
    assert_eq!(file.status, 200);
    assert!(!tells(&file.body), "the comment is gone");
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("cross-origin-resource-policy", "cross-origin"),
    ] {
        assert_eq!(file.header(name).as_deref(), Some(value), "{name}");
    }
    let etag = file.header("etag").unwrap();
    let asked = |name: &str, value: &str| server.request(Method::GET, &path).header(name, value);
    assert_eq!(server.send(asked("if-none-match", &etag)).await.status, 304);
    let range = server.send(asked("range", "bytes=0-3")).await;
    assert_eq!((range.status, range.body.as_slice()), (206, &b"\x89PNG"[..]));
    assert_eq!(server.send(asked("range", "bytes=99999-")).await.status, 416);
    for elsewhere in
        ["/media/", "/media/..%2fsecret_key", "/media/.lock", "/media/AAAAAAAAAAAAAAAAAAAAAA.png"]
    {
        assert_eq!(server.get(elsewhere, &ann).await.status, 404, "{elsewhere}");
    }
}

#[database_test]
async fn what_a_file_is_its_content_says(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    for (bytes, ending, content_type) in [
        (jpeg_of_a_phone(6, true), "jpg", "image/jpeg"),
        (webp_of_a_phone(6), "webp", "image/webp"),
        (gif_of_a_talker(), "gif", "image/gif"),
        (png_of_a_phone(6), "png", "image/png"),
    ] {
        let post = upload(&server, &ann, part(bytes, "x.html")).await.ok();
        assert_eq!(post["content"], Value::Null);
        let path = address(&server, &post);
        assert!(path.ends_with(&format!(".{ending}")), "{path}");
        let file = server.get(&path, None).await;
        assert_eq!((file.status, file.header("content-type").as_deref()), (200, Some(content_type)));
        assert!(!tells(&file.body), "{ending}");
        let head = server.send(server.request(Method::HEAD, &path)).await;
        assert_eq!(head.header("content-length"), Some(file.body.len().to_string()));
    }
}

#[database_test]
async fn a_private_file_is_to_others_as_none_is(db: TestDatabase) {
    let server = Server::start_with(&db, &[("PUBLIC_URL", "https://cdn.example/api/")]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let post = upload(&server, &ann, part(gif(), "x.gif").text("is_private", "on")).await.ok();
    let signed = post["media_url"].as_str().unwrap().strip_prefix("https://cdn.example/api").unwrap();
    assert_eq!(server.get(signed, None).await.status, 200);
    let (bare, _) = signed.split_once('?').unwrap();
    for viewer in [Some(&bob), None] {
        for headers in [("range", "bytes=0-3"), ("if-none-match", "*"), ("origin", "http://localhost:5173")] {
            let ask = async |path: &str| {
                let request = server.request(Method::GET, path).header(headers.0, headers.1);
                server
                    .send(viewer.iter().fold(request, |request, user| request.bearer_auth(&user.access)))
                    .await
            };
            let (private, none) = (ask(bare).await, ask("/media/AAAAAAAAAAAAAAAAAAAAAA.gif").await);
            assert!(private.looks_like(&none), "{private:?} is not as {none:?}");
            assert_eq!(private.problem(), (404, "Not Found"));
        }
    }
    // Neither do changes tell it.
    let empty = reqwest::multipart::Form::new()
        .text("content", "")
        .part("media", Part::bytes(Vec::new()).file_name("x"));
    let path = format!("/posts/{}", post["id"]);
    let unchanged =
        server.send(server.request(Method::PUT, &path).bearer_auth(&ann.access).multipart(empty)).await.ok();
    assert_eq!((&unchanged["updated_at"], &unchanged["media_url"]), (&Value::Null, &post["media_url"]));
    for stranger in [&bob, &ann] {
        let form = part(png(), "x.png");
        let change = server.request(Method::PUT, "/posts/999").bearer_auth(&stranger.access).multipart(form);
        assert_eq!(server.send(change).await.problem(), (404, "Post not found"));
    }
    let change = server.request(Method::PUT, &path).bearer_auth(&bob.access).multipart(part(png(), "x.png"));
    assert_eq!(server.send(change).await.problem(), (404, "Post not found"));
    assert_eq!(stored(&server).len(), 1);
}

#[database_test]
async fn a_private_file_needs_its_owner_or_an_address_that_we_signed(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let post = upload(&server, &ann, part(gif(), "x.gif").text("is_private", "true")).await.ok();
    let signed = address(&server, &post);
    let (bare, query) = signed.split_once('?').unwrap();
    let file = server.get(&signed, None).await;
    assert_eq!((file.status, file.header("content-type").as_deref()), (200, Some("image/gif")));
    assert_eq!(file.header("cache-control").as_deref(), Some("private, max-age=3600"));
    assert_eq!(server.get(bare, &ann).await.status, 200);
    let late = signed.replace("expires=", "expires=9");
    for path in [bare, late.as_str(), &format!("{bare}?{}", query.replace("signature=", "signature=A"))] {
        assert_eq!(server.get(path, None).await.status, 404, "{path}");
        assert_eq!(server.get(path, &bob).await.status, 404, "{path}");
    }
}

#[database_test]
async fn the_address_of_a_file_ends_when_its_post_becomes_private_or_goes(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let post = upload(&server, &ann, part(png(), "x.png")).await.ok();
    let path = format!("/posts/{}", post["id"]);
    let public = address(&server, &post);
    let private = server.put(&path, &ann, serde_json::json!({"is_private": true})).await.ok();
    assert_eq!(server.get(&public, &ann).await.status, 404);
    let signed = address(&server, &private);
    assert_eq!(server.get(&signed, None).await.status, 200);
    let replaced =
        server.request(Method::PUT, &path).bearer_auth(&ann.access).multipart(part(gif(), "y.gif"));
    let replaced = address(&server, &server.send(replaced).await.ok());
    assert_eq!(server.get(&signed, None).await.status, 404);
    assert_eq!(server.get(&replaced, None).await.status, 200);
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    assert_eq!(stored(&server).len(), 1);
    server.delete(&path, &ann).await.ok();
    assert_eq!(server.get(&replaced, None).await.status, 404);
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    assert_eq!(stored(&server), [""; 0]);
}
