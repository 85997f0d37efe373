//! `GET /media/{key}` of public files.

use reqwest::Method;
use test_support::{
    TestDatabase, database_test,
    media::images::{gif, png, png_of_a_phone},
};

use crate::harness::{Server, contains_secret, file_form, media_path, stored_files, upload};

#[database_test]
async fn public_file_is_served_without_token_with_safe_headers(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let post = upload(
        &server,
        &ann,
        file_form(png_of_a_phone(6), "../../holiday\u{202e}gnp.exe").text("content", "look"),
    )
    .await
    .ok();
    let path = media_path(&server, &post);
    assert!(
        !path.contains("holiday") && path.rsplit_once('.').is_some_and(|(_, ending)| ending == "png"),
        "{path}"
    );
    let file = server.get(&path, None).await;
    assert_eq!(file.status, 200);
    assert!(!contains_secret(&file.body), "the comment is gone");
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
    let with_header = |name: &str, value: &str| server.request(Method::GET, &path).header(name, value);
    assert_eq!(server.send(with_header("if-none-match", &etag)).await.status, 304);
    let range = server.send(with_header("range", "bytes=0-3")).await;
    assert_eq!((range.status, range.body.as_slice()), (206, &b"\x89PNG"[..]));
    assert_eq!(server.send(with_header("range", "bytes=99999-")).await.status, 416);
    for elsewhere in
        ["/media/", "/media/..%2fsecret_key", "/media/.lock", "/media/AAAAAAAAAAAAAAAAAAAAAA.png"]
    {
        assert_eq!(server.get(elsewhere, &ann).await.status, 404, "{elsewhere}");
    }
}

#[database_test]
async fn file_url_ends_when_its_post_becomes_private_or_is_deleted(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let post = upload(&server, &ann, file_form(png(), "x.png")).await.ok();
    let path = format!("/posts/{}", post["id"]);
    let public = media_path(&server, &post);
    let private = server.put(&path, &ann, serde_json::json!({"is_private": true})).await.ok();
    assert_eq!(server.get(&public, &ann).await.status, 404);
    let signed = media_path(&server, &private);
    assert_eq!(server.get(&signed, None).await.status, 200);
    let replaced = server.put_form(&path, &ann, file_form(gif(), "y.gif")).await.ok();
    let replaced = media_path(&server, &replaced);
    assert_eq!(server.get(&signed, None).await.status, 404);
    assert_eq!(server.get(&replaced, None).await.status, 200);
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    assert_eq!(stored_files(&server).len(), 1);
    server.delete(&path, &ann).await.ok();
    assert_eq!(server.get(&replaced, None).await.status, 404);
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    assert_eq!(stored_files(&server), [""; 0]);
}
