//! `GET /media/{key}` of public files.

use reqwest::Method;
use test_support::{
    TestDatabase, database_test,
    media::{
        images::{gif, jpeg, png, png_of_a_phone, webp},
        videos::{mp4, webm},
    },
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
        (
            "content-security-policy",
            "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'",
        ),
        ("cache-control", "public, max-age=600, must-revalidate"),
        ("cross-origin-resource-policy", "cross-origin"),
    ] {
        assert_eq!(file.header(name).as_deref(), Some(value), "{name}");
    }
    let etag = file.header("etag").unwrap();
    let with_header = |name: &str, value: &str| server.request(Method::GET, &path).header(name, value);
    let unchanged = server.send(with_header("if-none-match", &etag)).await;
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(etag)));
    assert_eq!(unchanged.header("cache-control"), file.header("cache-control"));
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

/// A browser that opens a file makes a page with an element that loads it again, for which the policy of the file counts.
/// A sandbox, or a policy without a source for the element, shows nothing.
#[database_test]
async fn file_of_every_kind_can_be_opened_in_a_browser_and_runs_nothing(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    for (file, content_type) in [
        (jpeg(), "image/jpeg"),
        (png(), "image/png"),
        (gif(), "image/gif"),
        (webp(), "image/webp"),
        (mp4(), "video/mp4"),
        (webm(), "video/webm"),
    ] {
        for is_private in ["false", "true"] {
            let form = file_form(file.clone(), "x").text("is_private", is_private);
            let path = media_path(&server, &upload(&server, &ann, form).await.ok());
            let get = server.request(Method::GET, &path);
            for response in [
                server.send(get.try_clone().unwrap().header("sec-fetch-dest", "document")).await,
                server.send(get.header("range", "bytes=0-").header("sec-fetch-dest", "video")).await,
            ] {
                assert!(matches!(response.status, 200 | 206), "{content_type}");
                assert_eq!(response.header("content-type").as_deref(), Some(content_type));
                let disposition = response.header("content-disposition").unwrap_or_default();
                assert!(disposition.starts_with("inline"), "{disposition}");
                assert_eq!(response.header("accept-ranges").as_deref(), Some("bytes"));
                assert!(response.header("etag").is_some());
                let policy = response.header("content-security-policy").unwrap();
                for part in ["default-src 'none'", "img-src 'self'", "media-src 'self'"] {
                    assert!(policy.split("; ").any(|found| found == part), "{policy}");
                }
                assert!(!policy.contains("sandbox") && !policy.contains("script-src"), "{policy}");
                let caching = response.header("cache-control").unwrap();
                assert!(!caching.contains("immutable") && caching.contains("max-age="), "{caching}");
                assert_eq!(caching.contains("private"), is_private == "true", "{caching}");
            }
        }
    }
}
